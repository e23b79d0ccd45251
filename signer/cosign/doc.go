// Package cosign finds, verifies and makes the signatures and attestations of images that
// cosign understands: Sigstore bundles attached as OCI 1.1 referrers (what cosign v3 writes),
// and the layers under the tags sha256-HEX.sig and sha256-HEX.att (cosign v1 and v2), both by
// key and by certificate (keyless).
//
// [Verifier.Verify] reads what is attached to a digest, within [Limits], and says in a
// [signer.Evidence] what of it counts. It asks nobody but the [Source]: transparency log
// entries, certificate timestamps and time stamps are verified offline against [Roots]. No
// environment variable has a say in what is trusted.
//
// [Sign] and [Attest] write either format and read back what they wrote.
package cosign
