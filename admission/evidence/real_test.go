package evidence_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/portcullis-dev/portcullis/admission/evidence"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/signer/signertest"
)

// verifier is the real one, as the webhook has it.
type verifier struct{ *cosign.Verifier }

func (v verifier) Verify(ctx context.Context, source evidence.Registry, repository registry.Repository, digest string, trust *signer.Configuration) (signer.Evidence, error) {
	return v.Verifier.Verify(ctx, source, cosign.Target{Repository: repository, Digest: digest}, trust)
}

type nobody struct{}

func (nobody) Gather(context.Context, policies.Needs) policies.Facts { return policies.Facts{} }

// world is a registry over HTTP with an image in it, and keys.
type world struct {
	server           *registrytest.Server
	client           *registry.Client
	target           cosign.Target
	release, scanner *cosign.Key
	trust            *signer.Configuration
	roots            *cosign.Roots
}

func newWorld(t testing.TB, shape registrytest.Shape) *world {
	t.Helper()
	w := &world{release: cosigntest.NewKey(t), scanner: cosigntest.NewKey(t)}
	server, err := registrytest.Start(shape)
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	t.Cleanup(func() { _ = server.Close() }) // some tests close it earlier
	if w.client, err = server.Client(); err != nil {
		t.Fatal(err)
	}
	repository := server.Repository("acme/app")
	w.target = cosign.Target{Repository: repository, Digest: w.push(t, "1")}
	w.trust, err = signer.Compile(&signer.Trust{
		Authorities: []signer.Authority{
			cosigntest.Authority(t, "release", server.Host()+"/acme/**", w.release),
			cosigntest.Authority(t, "scanner", server.Host()+"/**", w.scanner),
		},
		Requirements: []signer.Requirement{{Name: "signed", Images: []string{server.Host() + "/acme/**"}, AnyOf: []string{"release"}}},
		Scanners:     []string{"scanner"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// push puts a new small image under a tag.
func (w *world) push(t testing.TB, tag string) (digest string) {
	t.Helper()
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := w.client.PushImage(t.Context(), w.server.Repository("acme/app"), tag, image)
	if err != nil {
		t.Fatal(err)
	}
	return pushed.Digest
}

func (w *world) sign(t testing.TB, format string) {
	t.Helper()
	if _, err := cosign.Sign(t.Context(), w.client, w.target, w.release, cosign.SignOptions{Format: format}); err != nil {
		t.Fatal(err)
	}
}

// scan is a statement of what is in the image.
func (w *world) scan(t testing.TB) []byte {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	predicate, err := scanner.NewPredicate(scanner.Report{
		State: scanner.StateComplete, StartedAt: now, FinishedAt: now, Scanner: scanner.Tool{Name: "trivy", Version: "1"},
		Database: scanner.Database{UpdatedAt: now}, Packages: scanner.Packages{OS: 3},
		Vulnerabilities: []scanner.Vulnerability{{ID: "CVE-2026-1", Package: "openssl", Version: "3.0", Severity: "high", Status: "affected", Class: "os"}},
	}, scanner.Invocation{})
	if err != nil {
		t.Fatal(err)
	}
	statement, err := cosign.NewStatement(w.target, scanner.PredicateType, predicate)
	if err != nil {
		t.Fatal(err)
	}
	return statement
}

func (w *world) attest(t testing.TB, format string) {
	t.Helper()
	if _, err := cosign.Attest(t.Context(), w.client, w.target, w.scanner, w.scan(t), cosign.AttestOptions{Format: format}); err != nil {
		t.Fatal(err)
	}
}

// facts are those of the webhook. A client of their own knows nothing of the registry yet.
func (w *world) facts(t testing.TB, options evidence.Options) *evidence.Facts {
	t.Helper()
	client, err := w.server.Client()
	if err != nil {
		t.Fatal(err)
	}
	options.Registry, options.Verifier = client, verifier{cosign.NewVerifier(cosign.Options{Roots: w.roots})}
	facts, err := evidence.New(nobody{}, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(facts.Close)
	return facts
}

func (w *world) needs(t testing.TB, reference string, sections policies.ImageSections) policies.Needs {
	t.Helper()
	image, err := workload.ParseImage(w.target.Repository.String() + reference)
	if err != nil {
		t.Fatal(err)
	}
	exemptions, err := scanner.NewExemptions(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	sections.Resolved = true
	return policies.Needs{Images: policies.ImageNeeds{
		Images: []workload.Image{image}, Sections: sections, Namespace: "shop", Door: policies.DoorAdmission,
		Trust: w.trust, Exemptions: exemptions,
	}}
}

var everything = policies.ImageSections{Configs: true, Evidence: true, Scan: true}

func only(t testing.TB, facts policies.Facts) policies.ImageFacts {
	t.Helper()
	if len(facts.Images) != 1 {
		t.Fatalf("facts about %d images, want 1", len(facts.Images))
	}
	for _, one := range facts.Images {
		return one
	}
	return policies.ImageFacts{}
}

func wantAdmissible(t testing.TB, got policies.ImageFacts, digest string) {
	t.Helper()
	if got.Unknown != (policies.ImageUnknown{}) {
		t.Fatalf("unknown: %+v, want nothing", got.Unknown)
	}
	if got.Resolved != digest || got.Evidence.Digest != digest || len(got.Evidence.Signatures) != 1 || got.Evidence.Signatures[0].Authority != "release" {
		t.Errorf("resolved %s, evidence %+v, want a signature of release of %s", got.Resolved, got.Evidence, digest)
	}
	if got.Scan.State != scanner.StateComplete || got.Scan.Authority != "scanner" || len(got.Scan.Vulnerabilities) != 1 {
		t.Errorf("the scan is %+v, want one vulnerability, by scanner", got.Scan)
	}
	if len(got.Configs) != 1 || got.Configs[0].Digest != digest || len(got.Configs[0].Layers) != 1 {
		t.Errorf("the configurations are %+v, want one with a layer", got.Configs)
	}
}

// asked counts the registry's requests, as a multiset of what they are for.
func asked(server *registrytest.Server) (count int, list string) {
	var lines []string
	for _, request := range server.Requests() {
		lines = append(lines, fmt.Sprintf("%s %s -> %d", request.Method, request.Path, request.Status))
	}
	return len(lines), strings.Join(lines, "\n")
}

// TestEvidenceOverHTTP in all shapes of registries and both formats: cold with the fewest requests that the protocol
// allows, warm with none.
func TestEvidenceOverHTTP(t *testing.T) {
	for _, shape := range registrytest.Shapes() {
		for _, format := range []string{signer.FormatBundle, signer.FormatLegacy} {
			t.Run(string(shape)+", "+format, func(t *testing.T) {
				w := newWorld(t, shape)
				w.sign(t, format)
				w.attest(t, format)
				facts := w.facts(t, evidence.Options{})
				w.server.Forget()
				needs := w.needs(t, ":1", everything)
				wantAdmissible(t, only(t, facts.Gather(t.Context(), needs)), w.target.Digest)
				count, list := asked(w.server)
				want := minimum(shape, format)
				t.Logf("%d requests to a registry that was never asked before", count)
				if count != want {
					t.Errorf("%d requests, want %d:\n%s", count, want, list)
				}
				w.server.Forget()
				wantAdmissible(t, only(t, facts.Gather(t.Context(), w.needs(t, "@"+w.target.Digest, everything))), w.target.Digest)
				if count, list := asked(w.server); count != 0 {
					t.Errorf("warm: %d requests, want none:\n%s", count, list)
				}
			})
		}
	}
}

// minimum is how many requests the protocol takes for a tag, its configuration, one signature and one attestation: the
// manifest and its configuration, two legacy tags and the referrers, and for each thing attached one blob and, where it is
// a referrer, one manifest.
func minimum(shape registrytest.Shape, format string) int {
	requests := 2 + 3 + 2
	if format == signer.FormatBundle {
		requests += 2
	}
	switch shape {
	case registrytest.Fallback:
		requests++ // the referrers API that is not there, then the fallback tag
	case registrytest.Basic:
		requests++ // it asks for a password once
	case registrytest.Bearer:
		requests += 2 // it asks for a token once, and the token is fetched
	}
	return requests
}

// TestThirtyPodsOverHTTP of one new image cost no more requests than one.
func TestThirtyPodsOverHTTP(t *testing.T) {
	w := newWorld(t, registrytest.Referrers)
	w.sign(t, signer.FormatBundle)
	w.attest(t, signer.FormatBundle)
	facts := w.facts(t, evidence.Options{})
	needs := w.needs(t, "@"+w.target.Digest, everything)
	w.server.Forget()
	var group sync.WaitGroup
	got := make([]policies.ImageFacts, 30)
	for n := range got {
		group.Go(func() { got[n] = facts.Gather(t.Context(), needs).Images[needs.Images.Images[0].Ref] })
	}
	group.Wait()
	for _, one := range got {
		wantAdmissible(t, one, w.target.Digest)
	}
	count, list := asked(w.server)
	t.Logf("%d requests for thirty pods", count)
	if want := minimum(registrytest.Referrers, signer.FormatBundle); count != want {
		t.Errorf("%d requests, want %d:\n%s", count, want, list)
	}
}

// TestBypass13_ATagPushedAgainOverHTTP is not admitted on the evidence about what it was.
func TestBypass13_ATagPushedAgainOverHTTP(t *testing.T) {
	w := newWorld(t, registrytest.Referrers)
	w.sign(t, signer.FormatBundle)
	facts := w.facts(t, evidence.Options{})
	needs := w.needs(t, ":1", policies.ImageSections{Evidence: true})
	if got := only(t, facts.Gather(t.Context(), needs)); len(got.Evidence.Signatures) != 1 {
		t.Fatalf("got %+v, want a signature", got)
	}
	evil := w.push(t, "1")
	if got := only(t, facts.Gather(t.Context(), needs)); got.Resolved != evil || len(got.Evidence.Signatures) != 0 || got.Unknown.Evidence != "" {
		t.Errorf("got %+v, want %s without signatures", got, evil)
	}
}

// TestBypass12_ALyingDigestHeaderIsNotBelieved: the digest is that of the bytes.
func TestBypass12_ALyingDigestHeaderIsNotBelieved(t *testing.T) {
	w := newWorld(t, registrytest.Referrers)
	w.sign(t, signer.FormatBundle)
	evil := w.push(t, "evil")
	w.server.Inject(registrytest.On("/manifests/evil", registrytest.LyingDigest(w.target.Digest)))
	got := only(t, w.facts(t, evidence.Options{}).Gather(t.Context(), w.needs(t, ":evil", policies.ImageSections{Evidence: true})))
	if got.Resolved == w.target.Digest || len(got.Evidence.Signatures) > 0 {
		t.Errorf("got %+v, want %s or nothing, and no signature", got, evil)
	}
}

// TestARestartOverHTTP with the registry down: the verdict from what is kept on disk, by key and keyless; with trust or root
// changed, what they say now.
func TestARestartOverHTTP(t *testing.T) {
	w := newWorld(t, registrytest.Referrers)
	w.sign(t, signer.FormatBundle)
	w.attest(t, signer.FormatLegacy)
	folder := t.TempDir()
	before := w.facts(t, evidence.Options{Directory: folder})
	needs := w.needs(t, "@"+w.target.Digest, everything)
	wantAdmissible(t, only(t, before.Gather(t.Context(), needs)), w.target.Digest)
	before.Close()
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	wantAdmissible(t, only(t, w.facts(t, evidence.Options{Directory: folder}).Gather(t.Context(), needs)), w.target.Digest)

	without := w.facts(t, evidence.Options{})
	if got := only(t, without.Gather(t.Context(), needs)); !strings.Contains(got.Unknown.Evidence, "unreachable, "+w.server.Host()) || got.Unknown.Configs == "" {
		t.Errorf("without the folder: unknown %+v, want that %s cannot be reached", got.Unknown, w.server.Host())
	}
	other := newWorld(t, registrytest.Referrers)
	needs.Images.Trust, _ = signer.Compile(&signer.Trust{
		Authorities:  []signer.Authority{cosigntest.Authority(t, "release", w.server.Host()+"/**", other.release)},
		Requirements: []signer.Requirement{{Name: "signed", Images: []string{w.server.Host() + "/**"}, AnyOf: []string{"release"}}},
	})
	if got := only(t, w.facts(t, evidence.Options{Directory: folder}).Gather(t.Context(), needs)); len(got.Evidence.Signatures) > 0 || got.Unknown.Evidence == "" {
		t.Errorf("with another key trusted: %+v, want unknown, since the registry may have its signature by now", got)
	}
}

// TestAForgedFolderAdmitsNothing: whoever can write to it can put there what a registry could, and nothing else.
func TestAForgedFolderAdmitsNothing(t *testing.T) {
	w, evil := newWorld(t, registrytest.Referrers), newWorld(t, registrytest.Referrers)
	evil.sign(t, signer.FormatBundle) // by a key that is not trusted
	evil.attest(t, signer.FormatBundle)
	folder := t.TempDir()
	fake := evil.facts(t, evidence.Options{Directory: folder})
	wantAdmissible(t, only(t, fake.Gather(t.Context(), evil.needs(t, "@"+evil.target.Digest, everything))), evil.target.Digest)
	fake.Close()
	files, err := filepath.Glob(filepath.Join(folder, "*.evidence"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %q, error %v, want evidence and configurations", files, err)
	}
	if err := evil.server.Close(); err != nil {
		t.Fatal(err)
	}
	needs := evil.needs(t, "@"+evil.target.Digest, everything)
	needs.Images.Trust, err = signer.Compile(&signer.Trust{
		Authorities: []signer.Authority{cosigntest.Authority(t, "release", "**", w.release)},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := only(t, evil.facts(t, evidence.Options{Directory: folder}).Gather(t.Context(), needs))
	if len(got.Evidence.Signatures) > 0 || got.Unknown.Evidence == "" {
		t.Errorf("got %+v, want unknown", got)
	}
}

// TestAKeylessSignatureSurvivesARestart, and not the change of the trusted root.
func TestAKeylessSignatureSurvivesARestart(t *testing.T) {
	w := newWorld(t, registrytest.Referrers)
	pki := newPKI(t)
	file := filepath.Join(t.TempDir(), "trusted_root.json")
	write := func(content []byte) {
		t.Helper()
		// As a ConfigMap is replaced: by another file.
		if err := os.WriteFile(file+".new", content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(pki.TrustedRoot())
	var err error
	if w.roots, err = cosign.NewRoots(file); err != nil {
		t.Fatal(err)
	}
	identity := signertest.Identity{Issuer: "https://issuer.example.com", Subject: "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main"}
	w.trust, err = signer.Compile(&signer.Trust{
		Authorities:  []signer.Authority{{Name: "release", Images: []string{w.server.Host() + "/**"}, Identities: []signer.Identity{{Issuer: identity.Issuer, Subject: identity.Subject}}}},
		Requirements: []signer.Requirement{{Name: "signed", Images: []string{w.server.Host() + "/**"}, AnyOf: []string{"release"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	statement, err := signertest.SignatureStatement(w.target.Digest, nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := pki.SignStatement(identity, statement)
	if err != nil {
		t.Fatal(err)
	}
	w.attach(t, bundle)
	options := func() evidence.Options {
		return evidence.Options{Directory: filepath.Join(filepath.Dir(file), "cache"), TrustedRoot: func() string { _, hash := w.roots.Current(); return hash }}
	}
	needs := w.needs(t, "@"+w.target.Digest, policies.ImageSections{Evidence: true})
	running := w.facts(t, options())
	wantKeyless := func(facts *evidence.Facts) {
		t.Helper()
		got := only(t, facts.Gather(t.Context(), needs))
		if len(got.Evidence.Signatures) != 1 || got.Evidence.Signatures[0].Subject != identity.Subject {
			t.Fatalf("got %+v, want a signature by %s", got, identity.Subject)
		}
	}
	wantKeyless(running)
	waitForFile(t, filepath.Join(options().Directory, "*.evidence"))
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	wantKeyless(running)
	restarted := w.facts(t, options())
	wantKeyless(restarted)
	write(newPKI(t).TrustedRoot())
	for name, facts := range map[string]*evidence.Facts{"the one that was running": running, "the one that was restarted": restarted} {
		if got := only(t, facts.Gather(t.Context(), needs)); len(got.Evidence.Signatures) > 0 || got.Unknown.Evidence == "" {
			t.Errorf("%s, with another root: %+v, want unknown", name, got)
		}
	}
}

// waitForFile polls: what was verified is written down when its answer is on the way already.
func waitForFile(t *testing.T, pattern string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if files, err := filepath.Glob(pattern); err == nil && len(files) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no %s, want one", pattern)
		}
	}
}

func newPKI(t testing.TB) *signertest.PKI {
	t.Helper()
	pki, err := signertest.New()
	if err != nil {
		t.Fatal(err)
	}
	return pki
}

// attach writes a bundle as cosign v3 does.
func (w *world) attach(t testing.TB, bundle []byte) {
	t.Helper()
	const bundleType, manifestType = "application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.oci.image.manifest.v1+json"
	push := func(content []byte) registry.Descriptor {
		pushed, err := w.client.PushBlob(t.Context(), w.target.Repository, content)
		if err != nil {
			t.Fatal(err)
		}
		return pushed
	}
	config, layer := push([]byte("{}")), push(bundle)
	subject, err := w.client.Manifest(t.Context(), w.target.Repository, w.target.Digest)
	if err != nil {
		t.Fatal(err)
	}
	describe := func(mediaType, digest string, size int64) map[string]any {
		return map[string]any{"mediaType": mediaType, "digest": digest, "size": size}
	}
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "artifactType": bundleType,
		"config":  describe("application/vnd.oci.empty.v1+json", config.Digest, 2),
		"layers":  []any{describe(bundleType, layer.Digest, int64(len(bundle)))},
		"subject": describe(subject.MediaType, subject.Digest, subject.Size),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.PushReferrer(t.Context(), w.target.Repository, w.target.Digest, manifestType, raw); err != nil {
		t.Fatal(err)
	}
}

// TestFaultsOverHTTP: each leaves evidence unknown with its kind and host, and the next try asks again.
func TestFaultsOverHTTP(t *testing.T) {
	const soon, late = 3 * time.Second, 25 * time.Second
	for name, test := range map[string]struct {
		fault  registrytest.Fault
		within time.Duration
		want   string
	}{
		"429, and it may be asked again too late":         {registrytest.Status(http.StatusTooManyRequests, "3600"), late, "retry in 3600 s"},
		"429, and it may be asked again after the review": {registrytest.Status(http.StatusTooManyRequests, "20"), soon, "rate limited"},
		"500":                        {registrytest.Status(http.StatusInternalServerError, ""), late, "unreachable"},
		"403":                        {registrytest.Status(http.StatusForbidden, ""), late, "unauthorized"},
		"a connection that breaks":   {registrytest.Reset(), late, "unreachable"},
		"a million referrers":        {registrytest.On("/referrers/", registrytest.ManyReferrers(1_000_000)), late, "too"},
		"a registry that is slow":    {registrytest.Slow(time.Minute), soon, "within the time of this request"},
		"an answer cut off":          {registrytest.Truncated(), late, ""},
		"referrers that are no list": {registrytest.On("/referrers/", registrytest.Body([]byte("[]"))), late, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, registrytest.Referrers)
			w.sign(t, signer.FormatBundle)
			w.attest(t, signer.FormatBundle)
			facts := w.facts(t, evidence.Options{Margin: soon / 2})
			needs := w.needs(t, "@"+w.target.Digest, policies.ImageSections{Evidence: true, Scan: true})
			w.server.Inject(test.fault)
			ctx, cancel := context.WithTimeout(t.Context(), test.within)
			defer cancel()
			got := only(t, facts.Gather(ctx, needs))
			if ctx.Err() != nil {
				t.Error("the deadline has passed, want time left to evaluate")
			}
			if got.Unknown.Evidence == "" || got.Unknown.Scan == "" || !strings.Contains(got.Unknown.Evidence, test.want) || !strings.Contains(got.Unknown.Evidence, w.server.Host()) {
				t.Errorf("unknown because %q, want %q and %s in it", got.Unknown.Evidence, test.want, w.server.Host())
			}
			if len(got.Evidence.Signatures) > 0 {
				t.Errorf("got %+v, want no evidence", got.Evidence)
			}
		})
	}
}

// BenchmarkCold gathers evidence and scan from a registry on this machine; compare with BenchmarkBareRequests.
func BenchmarkCold(b *testing.B) {
	w := newWorld(b, registrytest.Referrers)
	w.sign(b, signer.FormatBundle)
	w.attest(b, signer.FormatBundle)
	needs := w.needs(b, "@"+w.target.Digest, policies.ImageSections{Evidence: true, Scan: true})
	client, err := w.server.Client()
	if err != nil {
		b.Fatal(err)
	}
	w.server.Forget()
	requests := 0
	for b.Loop() {
		facts, err := evidence.New(nobody{}, evidence.Options{Registry: client, Verifier: verifier{cosign.NewVerifier(cosign.Options{})}})
		if err != nil {
			b.Fatal(err)
		}
		got := only(b, facts.Gather(b.Context(), needs))
		facts.Close()
		if len(got.Evidence.Signatures) != 1 || got.Scan.State != scanner.StateComplete {
			b.Fatalf("got %+v, want a signature and a scan", got)
		}
		requests++
	}
	count, _ := asked(w.server)
	b.ReportMetric(float64(count)/float64(requests), "requests/op")
}

// BenchmarkBareRequests makes the same requests as a cold verification, as far as possible at once, and looks at nothing.
func BenchmarkBareRequests(b *testing.B) {
	w := newWorld(b, registrytest.Referrers)
	w.sign(b, signer.FormatBundle)
	w.attest(b, signer.FormatBundle)
	client, err := w.server.Client()
	if err != nil {
		b.Fatal(err)
	}
	ctx, repository := b.Context(), w.target.Repository
	tag := strings.Replace(w.target.Digest, ":", "-", 1)
	for b.Loop() {
		var group sync.WaitGroup
		group.Go(func() { _, _ = client.Resolve(ctx, repository, tag+".sig") })
		group.Go(func() { _, _ = client.Resolve(ctx, repository, tag+".att") })
		referrers, err := client.Referrers(ctx, repository, w.target.Digest)
		if err != nil || len(referrers) != 2 {
			b.Fatalf("%d referrers, error %v, want 2", len(referrers), err)
		}
		for _, one := range referrers {
			group.Go(func() {
				manifest, err := client.Manifest(ctx, repository, one.Digest)
				if err != nil {
					b.Error(err)
					return
				}
				var fields struct {
					Layers []struct {
						Digest string `json:"digest"`
					} `json:"layers"`
				}
				if err := json.Unmarshal(manifest.Raw, &fields); err != nil {
					b.Error(err)
					return
				}
				if _, err := client.Blob(ctx, repository, fields.Layers[0].Digest, 1<<20); err != nil {
					b.Error(err)
				}
			})
		}
		group.Wait()
	}
}
