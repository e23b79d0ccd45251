package policies

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
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

// librariesOf are the shared modules that a module refers to, itself or by others.
func (b *Bundle) librariesOf(module *ast.Module) map[string]*ast.Module {
	found := map[string]*ast.Module{}
	var follow func(*ast.Module)
	follow = func(module *ast.Module) {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			for file, shared := range b.libraries {
				if found[file] == nil && (ref.HasPrefix(shared.Package.Path) || shared.Package.Path.HasPrefix(ref) && ref[0].Equal(ast.DefaultRootDocument)) {
					found[file] = shared
					follow(shared)
				}
			}
			return false
		})
	}
	follow(module)
	return found
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
		libraries:  b.librariesOf(policy.module),
		data:       b.data,
		trust:      b.trust,
		exemptions: b.exemptions,
	}, nil
}
