package cosign

import (
	"context"
	"encoding/json"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
)

// Found is something attached to an image, as it presents itself. Nothing of it is verified: anybody
// who can push may have written it.
type Found struct {
	// What is "signature" or "attestation"; Format one of the formats of package signer, "" for
	// what is in neither.
	What   string `json:"what"`
	Format string `json:"format,omitempty"`
	// PredicateType and Statement are those of an attestation, or of a signature in a bundle.
	PredicateType string          `json:"predicateType,omitempty"`
	Statement     json.RawMessage `json:"statement,omitempty"`
	// Annotations are those of a signature.
	Annotations []signer.Annotation `json:"annotations,omitempty"`
	// Issuer and Subject are those in the certificate that is there, "" without one.
	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Manifest is the digest of the manifest that holds it.
	Manifest string `json:"manifest"`
	// Problem says why it could count for nobody: it is about another image, or cannot be read.
	Problem string `json:"problem,omitempty"`
}

// Inspect lists what is attached to an image, within the limits of the verifier, and judges nothing.
func (v *Verifier) Inspect(ctx context.Context, source Source, target Target) ([]Found, error) {
	judge, err := newJudge(target, nil, nil)
	if err != nil {
		return nil, err
	}
	candidates, err := newCollector(source, target, v.limits).collect(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Found, 0, len(candidates))
	for _, one := range candidates {
		all = append(all, judge.inspect(one))
	}
	return all, nil
}

func (j *judge) inspect(one candidate) Found {
	var c *claim
	err := guarded(func() (err error) {
		c, err = j.read(one)
		return err
	})
	rejected := rejection(one, c, "")
	found := Found{What: rejected.What, Manifest: one.manifest}
	if err != nil {
		found.Problem = abbreviate(err.Error())
	}
	if c == nil {
		return found
	}
	found.Format, found.PredicateType, found.Statement, found.Annotations = c.format, c.statement.predicateType, c.statement.raw, c.annotations
	if c.leaf == nil {
		return found
	}
	claimed, err := proofOf(c.leaf, time.Time{})
	if err != nil {
		found.Problem = abbreviate(err.Error())
	}
	found.Issuer, found.Subject = claimed.claims.Issuer, claimed.claims.Subject
	return found
}
