package cosign

import (
	"context"
	"fmt"
	"slices"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/sigstore/sigstore-go/pkg/root"
	"golang.org/x/sync/errgroup"
)

// demandPlatforms takes back the signatures of those authorities that want each manifest of an
// index signed, where they have not signed each.
func (v *Verifier) demandPlatforms(ctx context.Context, collector *collector, judge *judge, evidence *signer.Evidence) error {
	demanding := slices.DeleteFunc(slices.Clone(judge.authorities), func(a *signer.CheckedAuthority) bool {
		return !a.AllPlatforms || !slices.ContainsFunc(evidence.Signatures, func(s signer.Signature) bool { return s.Authority == a.Name })
	})
	if len(demanding) == 0 {
		return nil
	}
	children, err := collector.children(ctx)
	if err != nil {
		return err
	}
	signed := make([]map[string]bool, len(children))
	group, ctx := errgroup.WithContext(ctx)
	for i, child := range children {
		group.Go(func() (err error) {
			signed[i], err = signersOf(ctx, collector.about(child.Digest), demanding, judge.material)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, child := range children {
		for _, authority := range demanding {
			if !signed[i][authority.Name] {
				withdraw(evidence, authority.Name, fmt.Sprintf("signed by %s, which has to sign every platform of an index and has not signed %s (%s): sign that manifest, too",
					authority.Name, child.Digest, child.Platform))
			}
		}
	}
	return nil
}

// signersOf are the names of those authorities that have signed a manifest.
func signersOf(ctx context.Context, collector *collector, authorities []*signer.CheckedAuthority, material root.TrustedMaterial) (map[string]bool, error) {
	judge, err := newJudge(collector.target, authorities, material)
	if err != nil {
		return nil, err
	}
	candidates, err := collector.collect(ctx)
	if err != nil {
		return nil, err
	}
	var evidence signer.Evidence
	for _, one := range candidates {
		if err := judge.consider(one, &evidence); err != nil {
			return nil, err
		}
	}
	signed := make(map[string]bool)
	for _, signature := range evidence.Signatures {
		signed[signature.Authority] = true
	}
	return signed, nil
}

// withdraw turns the signatures of an authority into one rejection.
func withdraw(evidence *signer.Evidence, authority, reason string) {
	before := len(evidence.Signatures)
	evidence.Signatures = slices.DeleteFunc(evidence.Signatures, func(s signer.Signature) bool { return s.Authority == authority })
	if len(evidence.Signatures) < before {
		evidence.Rejected = append(evidence.Rejected, signer.Rejection{What: "signature", Reason: reason})
	}
}

// Platforms are the digests of the manifests of an index that an authority which wants all platforms
// signed looks for, besides the index itself. An image has none.
func (v *Verifier) Platforms(ctx context.Context, source Source, target Target) ([]string, error) {
	children, err := newCollector(source, target, v.limits).children(ctx)
	digests := make([]string, len(children))
	for i, child := range children {
		digests[i] = child.Digest
	}
	return digests, err
}

// children are the manifests of an index and of the indexes in it, and these themselves, without
// the build attestations that BuildKit lists as images of no platform
// (https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md), which no
// kubelet pulls. An image has none.
func (c *collector) children(ctx context.Context) ([]descriptor, error) {
	var found []descriptor
	seen := map[string]bool{c.target.Digest: true}
	for open := []string{c.target.Digest}; len(open) > 0; open = open[1:] {
		raw, err := c.source.Manifest(ctx, c.target.Repository, open[0])
		if err != nil {
			return nil, fmt.Errorf("reading the platforms of %s: %w", c.target, err)
		}
		parsed, err := parseManifest(raw.Raw)
		if err != nil {
			return nil, fmt.Errorf("reading the platforms of %s: %w: push a valid index", c.target, err)
		}
		for _, child := range parsed.Manifests {
			if seen[child.Digest] || child.isBuildAttestation() {
				continue
			}
			seen[child.Digest] = true
			found = append(found, child)
			if len(found) > c.limits.Platforms {
				return nil, c.tooMany(fmt.Sprintf("the index has more than the %d platforms that are looked at", c.limits.Platforms))
			}
			if child.MediaType == ociIndexMediaType || child.MediaType == dockerIndexMediaType {
				open = append(open, child.Digest)
			}
		}
	}
	return found, nil
}

func (d descriptor) isBuildAttestation() bool {
	return d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}
