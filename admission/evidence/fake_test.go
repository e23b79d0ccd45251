package evidence

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// fakeRegistry is for faults and counting: the real one is in real_test.go. What a field does not
// answer is not found.
type fakeRegistry struct {
	resolve   func(tag string) (registry.Manifest, error)
	manifest  func(digest string) (registry.Manifest, error)
	blob      func(digest string) ([]byte, error)
	referrers func(digest string) ([]registry.Descriptor, error)

	mu    sync.Mutex
	calls []string
}

func (f *fakeRegistry) note(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
}

func (f *fakeRegistry) asked() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.calls, ", ")
}

func notFound(what string) error {
	return &registry.Error{Kind: registry.NotFound, Host: "ghcr.io", What: "fetching " + what}
}

func (f *fakeRegistry) Resolve(_ context.Context, _ registry.Repository, tag string) (registry.Manifest, error) {
	f.note("resolve " + tag)
	if f.resolve == nil {
		return registry.Manifest{}, notFound(tag)
	}
	return f.resolve(tag)
}

func (f *fakeRegistry) Manifest(_ context.Context, _ registry.Repository, digest string) (registry.Manifest, error) {
	f.note("manifest")
	if f.manifest == nil {
		return registry.Manifest{}, notFound(digest)
	}
	return f.manifest(digest)
}

func (f *fakeRegistry) Blob(_ context.Context, _ registry.Repository, digest string, _ int64) ([]byte, error) {
	f.note("blob")
	if f.blob == nil {
		return nil, notFound(digest)
	}
	return f.blob(digest)
}

func (f *fakeRegistry) Referrers(_ context.Context, _ registry.Repository, digest string) ([]registry.Descriptor, error) {
	f.note("referrers")
	if f.referrers == nil {
		return nil, notFound(digest)
	}
	return f.referrers(digest)
}

// verifierFunc is a Verifier that counts.
type verifierFunc struct {
	verify func(ctx context.Context, source Registry, digest string, trust *signer.Configuration) (signer.Evidence, error)
	count  atomic.Int64
}

func (v *verifierFunc) Verify(ctx context.Context, source Registry, _ registry.Repository, digest string, trust *signer.Configuration) (signer.Evidence, error) {
	v.count.Add(1)
	return v.verify(ctx, source, digest, trust)
}

// signedBy is a verifier for which every digest is signed by an authority.
func signedBy(authority string) *verifierFunc {
	return &verifierFunc{verify: func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		return signed(digest, authority), nil
	}}
}

func signed(digest, authority string) signer.Evidence {
	return signer.Evidence{Digest: digest, Signatures: []signer.Signature{{Signer: signer.Signer{Authority: authority}}}}
}

// nobody has no facts of a cluster.
type nobody struct{}

func (nobody) Gather(context.Context, policies.Needs) policies.Facts { return policies.Facts{} }

// clock is a time that a test sets.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

var testKey = sync.OnceValue(func() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
})

// trusting is a configuration in which authority release must have signed everything, and scans of scanner are
// believed. comment makes another one of it.
func trusting(t testing.TB, comment string) *signer.Configuration {
	t.Helper()
	configuration, err := signer.Compile(&signer.Trust{
		Authorities: []signer.Authority{
			{Name: "release", Images: []string{"**"}, Keys: []signer.Key{{PEM: testKey()}}, Annotations: map[string]string{"comment": comment}},
			{Name: "scanner", Images: []string{"**"}, Keys: []signer.Key{{PEM: testKey()}}},
		},
		Requirements: []signer.Requirement{{Name: "signed", Images: []string{"**"}, AnyOf: []string{"release"}}},
		Scanners:     []string{"scanner"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return configuration
}

func noExemptions(t testing.TB) *scanner.Exemptions {
	t.Helper()
	exemptions, err := scanner.NewExemptions(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return exemptions
}

func digestOf(name string) string { return registry.DigestOf([]byte(name)) }

func image(t testing.TB, ref string) workload.Image {
	t.Helper()
	parsed, err := workload.ParseImage(ref)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Container = "app"
	return parsed
}

// needing is what a pod of some images makes a policy need.
func needing(t testing.TB, sections policies.ImageSections, refs ...string) policies.Needs {
	t.Helper()
	sections.Resolved = true
	needs := policies.ImageNeeds{
		Sections: sections, Namespace: "shop", ServiceAccounts: []string{"default"}, Door: policies.DoorAdmission,
		Trust: trusting(t, ""), Exemptions: noExemptions(t),
	}
	for _, ref := range refs {
		needs.Images = append(needs.Images, image(t, ref))
	}
	return policies.Needs{Images: needs}
}

var (
	evidenceOnly = policies.ImageSections{Evidence: true}
	withScan     = policies.ImageSections{Evidence: true, Scan: true}
)

// start makes facts that end with the test.
func start(t testing.TB, options Options) *Facts {
	t.Helper()
	if options.Registry == nil {
		options.Registry = &fakeRegistry{}
	}
	facts, err := New(nobody{}, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(facts.Close)
	return facts
}

// gatherOne is what is found of the only image.
func gatherOne(t testing.TB, facts *Facts, needs policies.Needs) policies.ImageFacts {
	t.Helper()
	return gatherAll(t, facts, needs)[needs.Images.Images[0].Ref]
}

func gatherAll(t testing.TB, facts *Facts, needs policies.Needs) map[string]policies.ImageFacts {
	t.Helper()
	got := facts.Gather(t.Context(), needs).Images
	if len(got) != len(needs.Images.Images) {
		t.Fatalf("facts about %d images, want %d", len(got), len(needs.Images.Images))
	}
	return got
}

// eventually polls a condition.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // polls a condition
	}
}

// landed waits until nothing is being found out.
func landed(t *testing.T, facts *Facts) {
	t.Helper()
	eventually(t, func() error {
		facts.flights.mu.Lock()
		defer facts.flights.mu.Unlock()
		if facts.flights.total > 0 {
			return fmt.Errorf("%d flights are under way, want none", facts.flights.total)
		}
		return nil
	})
}

func wantSigned(t *testing.T, facts policies.ImageFacts, digest string) {
	t.Helper()
	if facts.Unknown.Evidence != "" || len(facts.Evidence.Signatures) != 1 || facts.Evidence.Digest != digest || facts.Resolved != digest {
		t.Errorf("got resolved %s, evidence %+v, unknown %+v, want one signature of %s", facts.Resolved, facts.Evidence, facts.Unknown, digest)
	}
}

func wantCount(t *testing.T, what string, got, want int64) {
	t.Helper()
	if got != want {
		t.Errorf("%d %s, want %d", got, what, want)
	}
}
