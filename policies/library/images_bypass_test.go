package library_test

import (
	"encoding/json"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
)

const goodImage = "ghcr.io/acme/good:1"

// imagePlaces are manifests with a good image and a bad one, by where the bad one stands.
var imagePlaces = map[string]string{
	"a container":                   `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: GOOD}, {name: b, image: BAD}]}}`,
	"an init container":             `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {initContainers: [{name: b, image: BAD}], containers: [{name: a, image: GOOD}]}}`,
	"a sidecar":                     `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {initContainers: [{name: b, image: BAD, restartPolicy: Always}], containers: [{name: a, image: GOOD}]}}`,
	"an image volume":               `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: GOOD}], volumes: [{name: v, image: {reference: BAD}}]}}`,
	"a Deployment":                  `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {spec: {containers: [{name: a, image: GOOD}, {name: b, image: BAD}]}}}}`,
	"a CronJob":                     `{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {jobTemplate: {spec: {template: {spec: {initContainers: [{name: b, image: BAD}], containers: [{name: a, image: GOOD}]}}}}}}`,
	"a pod that says it is deleted": `{apiVersion: v1, kind: Pod, metadata: {name: a, deletionTimestamp: "2026-01-01T00:00:00Z", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: x, uid: y, controller: true}], annotations: {portcullis.dev/verified: "true"}}, spec: {containers: [{name: a, image: GOOD}, {name: b, image: BAD}]}}`,
}

// placed is a request to create the manifest of a place.
func placed(t *testing.T, place string) admission.Request {
	t.Helper()
	text := strings.NewReplacer("GOOD", `"`+goodImage+`"`, "BAD", `"ghcr.io/acme/app0:1"`).Replace(imagePlaces[place])
	documents, err := manifest.Read("sample.yaml", strings.NewReader(text), manifest.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return admission.CreateRequest(admission.DoorAdmission, &documents[0], "sample")
}

// debugged is a request that adds an ephemeral container with the bad image to a running pod.
func debugged(t *testing.T) admission.Request {
	t.Helper()
	const before = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"sample"},"spec":{"containers":[{"name":"a","image":"` + goodImage + `"}]}}`
	var review admissionv1.AdmissionRequest
	if err := json.Unmarshal([]byte(`{"uid":"1","kind":{"version":"v1","kind":"Pod"},"resource":{"version":"v1","resource":"pods"},"subResource":"ephemeralcontainers","name":"a","namespace":"sample","operation":"UPDATE","userInfo":{"username":"jane"}}`), &review); err != nil {
		t.Fatal(err)
	}
	review.OldObject = runtime.RawExtension{Raw: []byte(before)}
	review.Object = runtime.RawExtension{Raw: []byte(strings.Replace(before, `}]}}`, `}],"ephemeralContainers":[{"name":"b","image":"ghcr.io/acme/app0:1"}]}}`, 1))}
	return admission.FromReview(admission.DoorAdmission, &review)
}

// CVE-2023-2727 and CVE-2023-2728 (ephemeral containers), image volumes that nobody looks at, policies that loop
// over containers only, and objects that excuse themselves by a deletion, an owner or an annotation.
func TestImagesAreJudgedWhereverTheyStand(t *testing.T) {
	incident := map[string]any{"digests": []any{map[string]any{"digest": imageDigest, "reason": "stolen"}}}
	parameters := map[string]map[string]any{"images/incidents": incident}
	for id := range load(t).Policies {
		switch {
		case !strings.HasPrefix(id, "images/"):
			continue
		case id == "images/attested", id == "images/pinned-pods", id == "images/root-user":
			continue // about the requirements of a bundle, pods alone and containers alone: their samples cover that
		}
		engine := only(t, id, parameters[id])
		for place := range imagePlaces {
			t.Run(id+" in "+place, func(t *testing.T) { wantBadImage(t, engine, placed(t, place)) })
		}
		t.Run(id+" in an ephemeral container", func(t *testing.T) { wantBadImage(t, engine, debugged(t)) })
	}
}

func wantBadImage(t *testing.T, engine *policies.Engine, request admission.Request) {
	t.Helper()
	verdict := review(engine, request, policies.ImageFacts{Scan: scanner.Report{State: scanner.StateMissing}})
	found := false
	for _, finding := range verdict.Findings {
		found = found || finding.Details["image"] == "ghcr.io/acme/app0:1"
	}
	if !found || verdict.Admitted || len(verdict.Faults) > 0 {
		t.Errorf("got findings %+v, admitted = %v, faults %+v; want a denial for ghcr.io/acme/app0:1", verdict.Findings, verdict.Admitted, verdict.Faults)
	}
}

// CVE-2022-35930 and CVE-2022-35929: any attestation that was validly signed satisfied a demand for another type.
func TestCVE202235930AnAttestationOfAnotherTypeIsNone(t *testing.T) {
	known := policies.ImageFacts{}
	known.Evidence.Attestations = []signer.Attestation{{
		Signer: signer.Signer{Authority: "release"}, PredicateType: "https://example.com/other",
		Predicate: json.RawMessage(`{"components":[{"name":"a"}],"packages":[{"name":"a"}],"builder":{"id":"b"},"runDetails":{"builder":{"id":"b"}}}`),
	}}
	for _, id := range predicatePolicies {
		if verdict := review(only(t, id, nil), podOf(t, 1), known); verdict.Admitted || len(verdict.Faults) > 0 {
			t.Errorf("%s: got admitted = %v, faults %+v; want a denial", id, verdict.Admitted, verdict.Faults)
		}
	}
}

// A zero value of a report, as Trivy gives for what it cannot read, has no vulnerabilities and is not clean.
func TestAnEmptyReportIsNotAClearOne(t *testing.T) {
	for _, id := range []string{"images/scanned", "images/scan-fresh", "images/vulnerabilities", "images/known-exploited", "images/end-of-life-os", "images/secrets"} {
		engine := only(t, id, nil)
		for _, state := range []scanner.State{"", scanner.StateMissing, scanner.StateUnscannable, scanner.StateError, "Complete", "complete "} {
			if verdict := review(engine, podOf(t, 1), policies.ImageFacts{Scan: scanner.Report{State: state}}); verdict.Admitted || len(verdict.Faults) > 0 {
				t.Errorf("%s: got admitted = %v, faults %+v of a scan with the state %q; want a denial", id, verdict.Admitted, verdict.Faults, state)
			}
		}
	}
}
