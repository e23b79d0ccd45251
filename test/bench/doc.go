// Package bench measures Portcullis against its budgets: the time that a review, a
// start and a load take, and the memory they need.
//
// Machines differ and are shared, so nothing here passes or fails by the clock.
// What is compared runs in turns within one run, in many short rounds of which the
// median counts, and is printed as a ratio: to a webhook that only decodes the
// AdmissionReview and answers ([Yardstick]), which is the limit for anything that
// speaks this protocol, and to the same checks in CEL, which is what users get
// from ValidatingAdmissionPolicy. Both are real programs here, and a test holds the
// CEL checks to the verdicts of the policies they stand for.
//
// What looks into images is compared with the programs that pipelines run without
// Portcullis: a scan with "trivy image", the gate on twenty images with "trivy image" and
// "cosign verify" one after the other. All are real programs on the same images in the
// same registry with the same vulnerability database, which is in place for all: cold is
// without anything kept of an image, warm with what an earlier run has kept. Both sides
// have to find as much. trivy and cosign are built outside this module in the versions of
// go.mod ([NewPeers]), once, which takes minutes; $PORTCULLIS_BENCH_TRIVY and
// $PORTCULLIS_BENCH_COSIGN name programs to use instead.
//
// What bundles, their rollout and the journal cost is compared with the same webhook without: a lineup with its engine,
// a revision on trial with none, decisions kept with none kept. The engine for Gatekeeper's policies has plain OPA
// beside it (package constraints).
//
// "make bench" prints the table; "go test ./test/bench" proves in a short form that
// all of it works; "go test -bench . ./test/bench" gives the parts as Go benchmarks.
package bench
