package cosign

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Options are those of a [Verifier].
type Options struct {
	// Roots are what keyless signatures and log entries are verified against. Without them,
	// images for which an authority demands either cannot be judged where one is found.
	Roots *Roots
	// Limits bound what is read of one image.
	Limits Limits
}

// Verifier verifies what is attached to images. It remembers nothing and may be used
// concurrently.
type Verifier struct {
	roots  *Roots
	limits Limits
}

// NewVerifier makes a verifier.
func NewVerifier(options Options) *Verifier {
	return &Verifier{roots: options.Roots, limits: options.Limits.withDefaults()}
}

// Verify finds the evidence about an image: all that is attached to the digest and that an
// authority of the trust configuration for the image's repository has signed. What does not count
// is in Rejected with the reason. An error means that it could not be found out: a registry that
// does not answer, or no trusted root for what must be verified against one.
//
// For a digest it asks for two tags and the referrers, and then for what those name: one manifest
// and one blob each. The image itself is not asked for, unless an authority wants all platforms
// signed. Where no authority may sign the image it asks for nothing.
func (v *Verifier) Verify(ctx context.Context, source Source, target Target, trust *signer.Configuration) (signer.Evidence, error) {
	evidence := signer.Evidence{Digest: target.Digest, Signatures: []signer.Signature{}, Attestations: []signer.Attestation{}, Rejected: []signer.Rejection{}}
	judge, err := newJudge(target, trust.For(target.Repository.Registry, target.Repository.Path), v.material())
	if err != nil {
		return signer.Evidence{}, err
	}
	if len(judge.authorities) == 0 {
		return evidence, nil
	}
	collector := newCollector(source, target, v.limits)
	candidates, err := collector.collect(ctx)
	if err != nil {
		return signer.Evidence{}, err
	}
	for _, one := range candidates {
		if ctx.Err() != nil {
			return signer.Evidence{}, fmt.Errorf("verifying what is attached to %s: %w", target, context.Cause(ctx))
		}
		if err := judge.consider(one, &evidence); err != nil {
			return signer.Evidence{}, err
		}
	}
	if err := v.demandPlatforms(ctx, collector, judge, &evidence); err != nil {
		return signer.Evidence{}, err
	}
	return evidence, nil
}

// VerifyEnvelope verifies an attestation about a digest that is kept outside a registry: a Sigstore
// bundle, or a bare DSSE envelope, which only a key can have signed. Why something does not count,
// or could not be decided, is in the rejections.
func (v *Verifier) VerifyEnvelope(ctx context.Context, content []byte, digest string, repository registry.Repository, trust *signer.Configuration) ([]signer.Attestation, []signer.Rejection) {
	evidence := signer.Evidence{Attestations: []signer.Attestation{}, Rejected: []signer.Rejection{}}
	if err := v.considerEnvelope(ctx, content, Target{Repository: repository, Digest: digest}, trust, &evidence); err != nil {
		evidence.Rejected = append(evidence.Rejected, signer.Rejection{What: "attestation", Reason: err.Error()})
	}
	if len(evidence.Signatures) > 0 {
		evidence.Rejected = append(evidence.Rejected, signer.Rejection{What: "signature", Reason: "it is a signature of the image, and an attestation is wanted"})
	}
	return evidence.Attestations, evidence.Rejected
}

func (v *Verifier) considerEnvelope(ctx context.Context, content []byte, target Target, trust *signer.Configuration, evidence *signer.Evidence) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	judge, err := newJudge(target, trust.For(target.Repository.Registry, target.Repository.Path), v.material())
	if err != nil {
		return err
	}
	one := candidate{kind: kindOf(content), content: content, what: "attestation"}
	if int64(len(content)) > v.limits.Statement {
		one = foreign("", "attestation", "it has %d bytes, and at most %d are read", len(content), v.limits.Statement)
	}
	return judge.consider(one, evidence)
}

// kindOf tells a bundle, which has a media type, from a bare envelope.
func kindOf(content []byte) kind {
	var head struct {
		MediaType string `json:"mediaType"`
	}
	if json.Unmarshal(content, &head) == nil && strings.HasPrefix(head.MediaType, bundleMediaType) {
		return kindBundle
	}
	return kindEnvelope
}

func (v *Verifier) material() root.TrustedMaterial {
	if v.roots == nil {
		return nil
	}
	material, _ := v.roots.Current()
	return material
}
