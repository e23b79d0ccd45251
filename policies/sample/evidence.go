package sample

import (
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
	kjson "sigs.k8s.io/json"
)

// evidenceKind is the kind of a document that says what is known of an image. It is for
// samples only: nobody else takes evidence that is not signed.
const evidenceKind = "ImageEvidence"

// evidence is such a document: the fields that input.images[] has beside the reference,
// and unknown, for what could not be found out.
type evidence struct {
	APIVersion   string                 `json:"apiVersion"`
	Kind         string                 `json:"kind"`
	Image        string                 `json:"image"`
	Resolved     string                 `json:"resolved"`
	Configs      []policies.ImageConfig `json:"configs"`
	Signatures   []signer.Signature     `json:"signatures"`
	Attestations []signer.Attestation   `json:"attestations"`
	Rejected     []signer.Rejection     `json:"rejected"`
	Scan         *scanner.Report        `json:"scan"`
	Replacement  bool                   `json:"replacement"`
	Unknown      policies.ImageUnknown  `json:"unknown"`
}

// addEvidence takes a document that says what is known of an image.
func (s *Sample) addEvidence(document *manifest.Document) error {
	var e evidence
	strict, err := kjson.UnmarshalStrict(document.JSON, &e)
	if err == nil && len(strict) > 0 {
		err = strict[0]
	}
	if err != nil {
		return fmt.Errorf("reading the %s: %w", evidenceKind, err)
	}
	image, err := workload.ParseImage(e.Image)
	if err != nil {
		return fmt.Errorf("reading the %s: %w", evidenceKind, err)
	}
	known := nothingKnown(image)
	if e.Resolved != "" {
		known.Resolved = e.Resolved
	}
	known.Configs, known.Replacement, known.Unknown = e.Configs, e.Replacement, e.Unknown
	known.Evidence = signer.Evidence{Digest: known.Resolved, Signatures: e.Signatures, Attestations: e.Attestations, Rejected: e.Rejected}
	if e.Scan != nil {
		known.Scan = *e.Scan
	}
	s.images[image.Ref] = known
	return nil
}

// nothingKnown is an image that nobody signed, attested or scanned.
func nothingKnown(image workload.Image) policies.ImageFacts {
	resolved := image.Digest
	if resolved == "" {
		resolved = "sha256:" + strings.Repeat("5a", 32)
	}
	return policies.ImageFacts{
		Resolved: resolved, Evidence: signer.Evidence{Digest: resolved},
		Scan: scanner.Report{State: scanner.StateMissing, Reasons: []string{"nobody scanned it"}},
	}
}

// imageFacts are what the sample says of the images that are needed.
func (s *Sample) imageFacts(needs policies.ImageNeeds) map[string]policies.ImageFacts {
	if !needs.Sections.Any() {
		return nil
	}
	known := map[string]policies.ImageFacts{}
	for _, image := range needs.Images {
		facts, ok := s.images[image.Ref]
		if !ok {
			facts = nothingKnown(image)
		}
		known[image.Ref] = facts
	}
	return known
}

// Only is a bundle of the suite's policy alone, with the parameters and the trust of its samples.
func (s *Suite) Only(bundle *policies.Bundle) (*policies.Bundle, error) {
	trusting, err := bundle.Trusting(s.Trust)
	if err != nil {
		return nil, err
	}
	return trusting.Only(s.Policy.ID, s.Parameters)
}

// Mutants are the policy's mutants under the parameters and the trust of its samples.
func (s *Suite) Mutants(bundle *policies.Bundle) ([]policies.Mutant, error) {
	trusting, err := bundle.Trusting(s.Trust)
	if err != nil {
		return nil, err
	}
	return trusting.Mutants(s.Policy.ID, s.Parameters)
}
