package policies

import (
	"fmt"

	"github.com/portcullis-dev/portcullis/signer"
)

// Trusting is b with another trust configuration; with its own for nil.
func (b *Bundle) Trusting(trust *signer.Trust) (*Bundle, error) {
	if trust == nil {
		return b, nil
	}
	compiled, err := signer.Compile(trust)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	other := *b
	other.trust = compiled
	return &other, nil
}

// Only is a bundle of a single policy of b, enforced, with the given parameters
// and without exceptions. It serves samples and tests of the policy.
func (b *Bundle) Only(id string, parameters map[string]any) (*Bundle, error) {
	policy, ok := b.Policies[id]
	if !ok {
		return nil, fmt.Errorf("there is no policy %q in bundle %s", id, b.Manifest.Name)
	}
	return &Bundle{
		Manifest: Manifest{
			APIVersion: APIVersion, Kind: "Bundle", Name: b.Manifest.Name, Serial: b.Manifest.Serial,
			Policies:       []Instance{{Policy: id, Parameters: parameters}},
			DefaultProfile: noProfile,
		},
		Policies:   map[string]*Policy{id: policy},
		Digest:     b.Digest,
		libraries:  b.libraries,
		data:       b.data,
		trust:      b.trust,
		exemptions: b.exemptions,
	}, nil
}
