package signer

import "encoding/json"

// Formats in which a signature or attestation can lie in a registry.
const (
	// FormatBundle is a Sigstore bundle (application/vnd.dev.sigstore.bundle.v0.3+json)
	// attached as an OCI 1.1 referrer: what cosign v3 writes.
	FormatBundle = "bundle"
	// FormatLegacy is a layer of the manifest under the tags sha256-HEX.sig and
	// sha256-HEX.att: what cosign v1 and v2 write.
	FormatLegacy = "legacy"
)

// SignPredicateType marks a bundle that is an image signature (cosign v3 signs a
// statement without predicate of this type). A bundle of any other type is an
// attestation and never counts as a signature.
const SignPredicateType = "https://sigstore.dev/cosign/sign/v1"

// Evidence is what was found and verified about one digest. Nothing in Signatures or
// Attestations is unverified: each is by an authority that the trust configuration
// names for the image, over exactly this digest.
type Evidence struct {
	// Digest is that of the image or index, "sha256:…".
	Digest       string        `json:"digest"`
	Signatures   []Signature   `json:"signatures"`
	Attestations []Attestation `json:"attestations"`
	// Rejected is what was found and does not count, with the reason: it explains
	// a denial and decides nothing.
	Rejected []Rejection `json:"rejected"`
}

// Signer says by whom something was signed.
type Signer struct {
	// Authority is the name of the authority of the trust configuration. Something that
	// several authorities accept is listed once for each.
	Authority string `json:"authority"`
	// Issuer and Subject are those of the certificate (keyless), "" for a key.
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// Key is "sha256:" and the hash of the public key's SubjectPublicKeyInfo (DER), ""
	// for a certificate.
	Key string `json:"key"`
	// Format is [FormatBundle] or [FormatLegacy].
	Format string `json:"format"`
	// Time is when it was signed as a transparency log or a timestamp authority says
	// (RFC 3339, UTC), "" where nobody trusted does.
	Time string `json:"time"`
}

// Signature is a verified signature of the image.
type Signature struct {
	Signer
	// Annotations are those that the signature covers, sorted by key.
	Annotations []Annotation `json:"annotations"`
}

// Annotation is one signed annotation.
type Annotation struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Attestation is a verified in-toto statement about the digest.
type Attestation struct {
	Signer
	// PredicateType is the statement's own, exactly as signed.
	PredicateType string `json:"predicateType"`
	// Predicate is the statement's predicate, raw JSON.
	Predicate json.RawMessage `json:"predicate"`
	// Digest is that of the signed payload, to tell attestations apart.
	Digest string `json:"digest"`
}

// Rejection is something that was found and does not count.
type Rejection struct {
	// What is "signature" or "attestation"; PredicateType that of an attestation as far
	// as it could be read (unverified).
	What          string `json:"what"`
	PredicateType string `json:"predicateType"`
	// Reason is for people: "signed by https://github.com/acme-evil/…, which authority release does not accept".
	Reason string `json:"reason"`
}
