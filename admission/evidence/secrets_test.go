package evidence

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

type secretsFunc struct {
	secrets func(namespace string) (registry.Credentials, error)
	count   atomic.Int64
}

func (s *secretsFunc) PullSecrets(_ context.Context, namespace string, _, _ []string) (registry.Credentials, error) {
	s.count.Add(1)
	return s.secrets(namespace)
}

// private is a registry that shows an image's signature to who reads it with the pull secrets of shop.
type private struct {
	facts              *Facts
	secrets            *secretsFunc
	verifier           *verifierFunc
	operator, tenant   *fakeRegistry
	seenOperator, seen atomic.Int64
}

func newPrivate(t *testing.T, forOperator bool) *private {
	p := &private{operator: &fakeRegistry{}, tenant: &fakeRegistry{}}
	p.secrets = &secretsFunc{secrets: func(namespace string) (registry.Credentials, error) {
		if namespace == "shop" {
			return registry.Static{"ghcr.io": {Username: "shop", Password: "secret"}}, nil
		}
		return registry.Static{}, nil
	}}
	p.verifier = &verifierFunc{verify: func(_ context.Context, source Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		from := source.(*recorder).Registry.(*sharing).Registry.(reader).Registry
		switch {
		case from == p.tenant:
			p.seen.Add(1)
			return signed(digest, "release"), nil
		case forOperator:
			p.seenOperator.Add(1)
			return signed(digest, "release"), nil
		}
		p.seenOperator.Add(1)
		return signer.Evidence{Digest: digest}, nil
	}}
	p.facts = start(t, Options{Registry: p.operator, Verifier: p.verifier, PullSecrets: p.secrets,
		WithCredentials: func(registry.Credentials) Registry { return p.tenant }})
	return p
}

// TestPullSecretsAreForTheirNamespaceAndHost: what a tenant may not see it is not told of, and what one is denied another
// still gets.
func TestPullSecretsAreForTheirNamespaceAndHost(t *testing.T) {
	p := newPrivate(t, false)
	shop := needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app"))
	other := needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app"))
	other.Images.Namespace = "other"
	if got := gatherOne(t, p.facts, other); len(got.Evidence.Signatures) > 0 {
		t.Errorf("the namespace without secret got %+v, want no signature", got.Evidence)
	}
	wantSigned(t, gatherOne(t, p.facts, shop), digestOf("app"))
	if got := gatherOne(t, p.facts, other); len(got.Evidence.Signatures) > 0 {
		t.Errorf("the namespace without secret then got %+v, want no signature", got.Evidence)
	}
	elsewhere := needing(t, evidenceOnly, "quay.io/acme/app@"+digestOf("app"))
	gatherOne(t, p.facts, elsewhere)
	wantCount(t, "verifications with the tenant's secret", p.seen.Load(), 1)
	wantCount(t, "verifications with the operator's credentials", p.seenOperator.Load(), 2)
}

// TestAWarmImageTakesNoPullSecret: reading them asks the API server.
func TestAWarmImageTakesNoPullSecret(t *testing.T) {
	for name, forOperator := range map[string]bool{"seen by the operator": true, "seen by the tenant": false} {
		t.Run(name, func(t *testing.T) {
			p := newPrivate(t, forOperator)
			if forOperator {
				p.secrets.secrets = func(string) (registry.Credentials, error) { return registry.Static{}, nil }
			}
			needs := needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app"), "ghcr.io/acme/sidecar@"+digestOf("sidecar"))
			for range 3 {
				gatherAll(t, p.facts, needs)
			}
			wantCount(t, "looks at pull secrets", p.secrets.count.Load(), 1)
			wantCount(t, "verifications", p.verifier.count.Load(), 2)
		})
	}
}

func TestPullSecretsThatCannotBeReadAreUnknownEvidence(t *testing.T) {
	p := newPrivate(t, true)
	p.secrets.secrets = func(string) (registry.Credentials, error) { return nil, errors.New("grant get on secrets") }
	for _, ref := range []string{"ghcr.io/acme/app@" + digestOf("app"), "ghcr.io/acme/app:1"} {
		got := gatherOne(t, p.facts, needing(t, evidenceOnly, ref))
		if !strings.Contains(got.Unknown.Evidence, "reading the pull secrets of namespace shop: grant get on secrets") {
			t.Errorf("%s is unknown because %q, want the pull secrets", ref, got.Unknown.Evidence)
		}
	}
	wantCount(t, "verifications", p.verifier.count.Load(), 0)
}

func TestPullSecretsTakeARegistryToUseThem(t *testing.T) {
	if _, err := New(nobody{}, Options{Registry: &fakeRegistry{}, Verifier: signedBy("release"), PullSecrets: &secretsFunc{}}); err == nil {
		t.Error("no error, want one")
	}
	if _, err := New(nobody{}, Options{}); err == nil {
		t.Error("without registry and verifier: no error, want one")
	}
}
