// Package signertest is a Sigstore of one's own for tests, benchmarks and the demo: a certificate
// authority like Fulcio, a certificate transparency log, a transparency log like Rekor, a
// timestamp authority, and the trusted root that names them. What it signs is complete, with
// SCTs, inclusion proofs and timestamps, so that verifiers need no option that makes them laxer.
//
// It writes both formats that cosign writes: Sigstore bundles in version 0.3, and signatures
// and attestations in the layers of images. It can get one thing wrong at a time (see
// [Fault]), for tests of what a verifier refuses:
//
//	pki, err := signertest.New()
//	statement, err := signertest.SignatureStatement(digest, nil)
//	bundle, err := pki.SignStatement(identity, statement)
//	forged, err := pki.SignStatement(identity, statement, signertest.OtherLogEntry)
//	err = signertest.AttachBundle(ctx, reference, bundle, signer.SignPredicateType)
//
// Nothing here is fit for production: the keys live in memory, and nobody is asked who he is.
package signertest
