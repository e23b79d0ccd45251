package cosign

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// claim is a candidate that has been read, and the ways to verify it. Whatever it says is
// unverified until one of them gave a proof.
type claim struct {
	format string
	// signature is true for what claims to sign the image, false for an attestation.
	signature bool
	// annotations are those that a signature covers.
	annotations []signer.Annotation
	// statement is that of an attestation.
	statement statement
	// leaf is the certificate that comes with it, nil where none does. It is unverified.
	leaf *x509.Certificate
	// byCertificate verifies it against the certificate that comes with it; nil where none does.
	byCertificate func(material root.TrustedMaterial) (proof, error)
	// byKey verifies it with a key, and demands an entry in a transparency log where log is
	// true; nil where it cannot be signed by a key. Without roots material is nil.
	byKey func(material root.TrustedMaterial, key signer.PublicKey, log bool) (proof, error)
}

// proof is what verifying a signature showed: by whom it is, and since when it exists.
type proof struct {
	// claims are what the certificate says.
	claims signer.CertificateClaims
	// key is the fingerprint of the key.
	key string
	// time is the earliest that a log or a time stamp authority confirms; zero where none does.
	time time.Time
}

// proofOf reads a certificate that has been verified. Fulcio gives it one name; which of several
// would be the signer's is not for us to choose.
func proofOf(leaf *x509.Certificate, at time.Time) (proof, error) {
	if names := len(leaf.URIs) + len(leaf.EmailAddresses) + len(leaf.DNSNames) + len(leaf.IPAddresses); names > 1 {
		return proof{}, fmt.Errorf("its certificate has %d names, and one is wanted", names)
	}
	summary, err := certificate.SummarizeCertificate(leaf)
	if err != nil {
		return proof{}, fmt.Errorf("its certificate names nobody: %w", err)
	}
	return proof{time: at, claims: signer.CertificateClaims{
		Issuer:  summary.Issuer,
		Subject: summary.SubjectAlternativeName,
		GitHubWorkflow: signer.GitHubWorkflow{
			Trigger:    summary.GithubWorkflowTrigger,
			SHA:        summary.GithubWorkflowSHA,
			Name:       summary.GithubWorkflowName,
			Repository: summary.GithubWorkflowRepository,
			Ref:        summary.GithubWorkflowRef,
		},
	}}, nil
}

// signer is the proof as evidence, for an authority.
func (p proof) signer(authority, format string) signer.Signer {
	s := signer.Signer{Authority: authority, Issuer: p.claims.Issuer, Subject: p.claims.Subject, Key: p.key, Format: format}
	if !p.time.IsZero() {
		s.Time = p.time.UTC().Format(time.RFC3339)
	}
	return s
}
