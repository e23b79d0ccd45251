package scanner

import "github.com/portcullis-dev/portcullis/signer"

// Exemptions are what a bundle says of single vulnerabilities: VEX documents and ignores. It is immutable.
type Exemptions struct{ hash string }

// NewExemptions reads a bundle's VEX documents and ignores, by file name. All mistakes are reported together.
func NewExemptions(vex, ignores map[string][]byte) (*Exemptions, error) { return &Exemptions{}, nil }

// Hash is "sha256:" and the hash of all of it.
func (e *Exemptions) Hash() string { return e.hash }

// Apply notes in a report which vulnerabilities VEX statements and ignores speak about: those of the
// bundle, and those attested by authorities that trust believes in this. The report is not modified.
func (e *Exemptions) Apply(report Report, image string, digest string, attestations []signer.Attestation, trust *signer.Configuration) Report {
	return report
}
