package cosign_test

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	upstream "github.com/sigstore/cosign/v2/pkg/cosign"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// place is a registry over HTTP that has the empty image.
type place struct {
	*registrytest.Server
	client *registry.Client
	target cosign.Target
}

func start(t testing.TB, shape registrytest.Shape) *place {
	t.Helper()
	server, err := registrytest.Start(shape)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	repository := server.Repository("acme/app")
	pushed, err := client.PushImage(context.Background(), repository, "v1", empty.Image)
	if err != nil {
		t.Fatal(err)
	}
	server.Forget()
	return &place{Server: server, client: client, target: cosign.Target{Repository: repository, Digest: pushed.Digest}}
}

// trusts is an authority for this registry's images.
func (p *place) trusts(authority signer.Authority) signer.Authority {
	authority.Images = []string{p.Host() + "/acme/**"}
	return authority
}

func (p *place) verify(t testing.TB, v *cosign.Verifier, authorities ...signer.Authority) signer.Evidence {
	t.Helper()
	for i := range authorities {
		authorities[i] = p.trusts(authorities[i])
	}
	evidence, err := v.Verify(context.Background(), p.client, p.target, compile(t, authorities...))
	if err != nil {
		t.Fatal(err)
	}
	return evidence
}

// elsewhere writes to this registry's repository whatever repository it is told.
type elsewhere struct {
	cosign.Destination
	repository registry.Repository
}

func (e elsewhere) PushBlob(ctx context.Context, _ registry.Repository, content []byte) (registry.Descriptor, error) {
	return e.Destination.PushBlob(ctx, e.repository, content)
}

func (e elsewhere) PushReferrer(ctx context.Context, _ registry.Repository, subject, mediaType string, raw []byte) (registry.Descriptor, error) {
	return e.Destination.PushReferrer(ctx, e.repository, subject, mediaType, raw)
}

// TestRealKeylessAttestationEndToEnd pushes the empty image and the public-good attestation about it
// to a registry, and reads them back by its protocol.
func TestRealKeylessAttestationEndToEnd(t *testing.T) {
	roots := publicGood(t)
	for _, shape := range registrytest.Shapes() {
		t.Run(string(shape), func(t *testing.T) {
			p := start(t, shape)
			if p.target.Digest != realDigest {
				t.Fatalf("got digest %s, want %s", p.target.Digest, realDigest)
			}
			attachBundle(t, elsewhere{p.client, p.target.Repository}, realDigest, realBundle(t))
			v := cosign.NewVerifier(cosign.Options{Roots: roots})
			evidence := p.verify(t, v, keyless("cody", realIssuer, realSubject))
			if len(evidence.Attestations) != 1 || evidence.Attestations[0].Subject != realSubject || counted(evidence) != 1 {
				t.Errorf("got %+v, want the attestation", evidence)
			}
			evidence = p.verify(t, v, keyless("mallory", realIssuer, "mallory@soyland.com"))
			wantRejected(t, evidence, "signed by cody@soyland.com")
		})
	}
}

func TestSigningAndAttestingInEveryRegistry(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "release")
	for _, shape := range registrytest.Shapes() {
		for _, format := range formats {
			t.Run(string(shape)+" "+format, func(t *testing.T) {
				p := start(t, shape)
				for range 2 {
					if _, err := cosign.Sign(ctx, p.client, p.target, key, cosign.SignOptions{Format: format}); err != nil {
						t.Fatal(err)
					}
					written, err := cosign.Attest(ctx, p.client, p.target, key, statement(t, p.target, vulnType, "{}"), cosign.AttestOptions{Format: format, Replace: true})
					if err != nil || written.Leftover != nil {
						t.Fatal(err, written.Leftover)
					}
				}
				evidence := p.verify(t, verifier(), authority)
				if len(evidence.Signatures) != 1 || len(evidence.Attestations) != 1 || len(evidence.Rejected) != 0 {
					t.Errorf("got %+v, want one signature and one attestation", evidence)
				}
			})
		}
	}
}

// TestOneScanADayForAYear is the same as in memory, with a registry that lists referrers and with one
// that does not.
func TestOneScanADayForAYear(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "scanner")
	for _, shape := range []registrytest.Shape{registrytest.Referrers, registrytest.Fallback} {
		for _, format := range formats {
			t.Run(string(shape)+" "+format, func(t *testing.T) {
				p := start(t, shape)
				for day := range 365 {
					written, err := cosign.Attest(ctx, p.client, p.target, key, statement(t, p.target, vulnType, fmt.Sprintf(`{"day":%d}`, day)),
						cosign.AttestOptions{Format: format, Replace: true, Now: func() time.Time { return time.Unix(int64(day)*86400, 0) }})
					if err != nil || written.Leftover != nil {
						t.Fatalf("day %d: %v, %v", day, err, written.Leftover)
					}
				}
				evidence := p.verify(t, verifier(), authority)
				if len(evidence.Attestations) != 1 || string(evidence.Attestations[0].Predicate) != `{"day":364}` {
					t.Errorf("got %+v, want the last day's", evidence.Attestations)
				}
				listed, err := p.client.Referrers(ctx, p.target.Repository, p.target.Digest)
				if want := map[string]int{signer.FormatBundle: 1}[format]; err != nil || len(listed) != want {
					t.Errorf("got %d referrers (%v), want %d", len(listed), err, want)
				}
			})
		}
	}
}

// TestRequestsOfAColdVerification counts what goes over the wire.
func TestRequestsOfAColdVerification(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "release")
	for _, test := range []struct {
		shape  registrytest.Shape
		format string
		want   int // tags .sig and .att, referrers; then a manifest and a blob, or only a blob in the legacy format
	}{
		{registrytest.Referrers, signer.FormatBundle, 5},
		{registrytest.Referrers, signer.FormatLegacy, 4},
		{registrytest.Fallback, signer.FormatBundle, 6}, // and the fallback tag
		{registrytest.Fallback, signer.FormatLegacy, 5},
	} {
		t.Run(string(test.shape)+" "+test.format, func(t *testing.T) {
			p := start(t, test.shape)
			if _, err := cosign.Sign(ctx, p.client, p.target, key, cosign.SignOptions{Format: test.format}); err != nil {
				t.Fatal(err)
			}
			fresh, err := p.Client()
			if err != nil {
				t.Fatal(err)
			}
			p.Forget()
			evidence, err := verifier().Verify(ctx, fresh, p.target, compile(t, p.trusts(authority)))
			if err != nil || len(evidence.Signatures) != 1 {
				t.Fatalf("got %+v and %v, want one signature", evidence, err)
			}
			var got []string
			for _, request := range p.Requests() {
				got = append(got, request.Method+" "+request.Path)
			}
			if len(got) != test.want {
				t.Errorf("got %d requests, want %d:\n%s", len(got), test.want, strings.Join(got, "\n"))
			}
		})
	}
}

// TestFaultsOfTheWire: each is a typed fault, and never the want of a signature.
func TestFaultsOfTheWire(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "release")
	for name, test := range map[string]struct {
		fault registrytest.Fault
		want  registry.Kind
	}{
		"a server fault":       {registrytest.Status(http.StatusInternalServerError, ""), registry.Unreachable},
		"too many requests":    {registrytest.Status(http.StatusTooManyRequests, "3600"), registry.RateLimited},
		"no permission":        {registrytest.Status(http.StatusForbidden, ""), registry.Unauthorized},
		"a broken connection":  {registrytest.Reset(), registry.Unreachable},
		"a flipped byte":       {registrytest.On("/manifests/sha256:", registrytest.Flipped()), registry.Mismatch},
		"an endless body":      {registrytest.On("/blobs/", registrytest.Endless("application/octet-stream")), ""},
		"a million referrers":  {registrytest.On("/referrers/", registrytest.ManyReferrers(1_000_000)), registry.TooMany},
		"a gzip bomb for tags": {registrytest.On(".sig", registrytest.GzipBomb("application/vnd.oci.image.manifest.v1+json")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, registrytest.Referrers)
			if _, err := cosign.Sign(ctx, p.client, p.target, key, cosign.SignOptions{}); err != nil {
				t.Fatal(err)
			}
			options := p.Options()
			options.Attempts = 1
			client, err := registry.New(options)
			if err != nil {
				t.Fatal(err)
			}
			p.Inject(test.fault)
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			evidence, err := verifier().Verify(ctx, client, p.target, compile(t, p.trusts(authority)))
			if test.want != "" && registry.KindOf(err) != test.want {
				t.Errorf("got %+v and error %v of kind %q, want kind %q", evidence, err, registry.KindOf(err), test.want)
			}
			if err == nil && counted(evidence) == 0 && len(evidence.Rejected) == 0 {
				t.Errorf("got no evidence, no rejection and no error")
			}
		})
	}
}

// TestCosignVerifiesWhatIsWritten has cosign's library read what was signed and attested here.
func TestCosignVerifiesWhatIsWritten(t *testing.T) {
	ctx := context.Background()
	key, _ := newKey(t, "release")
	public, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := signature.LoadVerifier(parsed, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for _, shape := range []registrytest.Shape{registrytest.Referrers, registrytest.Fallback} {
		t.Run(string(shape), func(t *testing.T) {
			p := start(t, shape)
			ref, err := name.ParseReference(p.target.String())
			if err != nil {
				t.Fatal(err)
			}
			for _, format := range formats {
				if _, err := cosign.Sign(ctx, p.client, p.target, key, cosign.SignOptions{Format: format, Annotations: map[string]string{"env": "prod"}}); err != nil {
					t.Fatal(err)
				}
				if _, err := cosign.Attest(ctx, p.client, p.target, key, statement(t, p.target, vulnType, `{"a":"b"}`), cosign.AttestOptions{Format: format}); err != nil {
					t.Fatal(err)
				}
			}
			options := func(bundles bool) *upstream.CheckOpts {
				o := &upstream.CheckOpts{SigVerifier: loaded, IgnoreTlog: true, Offline: true, ClaimVerifier: upstream.SimpleClaimVerifier, Annotations: map[string]any{"env": "prod"}}
				if bundles {
					o.NewBundleFormat, o.ClaimVerifier = true, upstream.IntotoSubjectClaimVerifier
					material, _ := publicGood(t).Current()
					o.TrustedMaterial = material
				}
				return o
			}
			if signatures, _, err := upstream.VerifyImageSignatures(ctx, ref, options(false)); err != nil || len(signatures) != 1 {
				t.Errorf("legacy signatures: got %d, %v", len(signatures), err)
			}
			legacy := options(false)
			legacy.ClaimVerifier = upstream.IntotoSubjectClaimVerifier
			if attestations, _, err := upstream.VerifyImageAttestations(ctx, ref, legacy); err != nil || len(attestations) != 1 {
				t.Errorf("legacy attestations: got %d, %v", len(attestations), err)
			}
			if attestations, _, err := upstream.VerifyImageAttestations(ctx, ref, options(true)); err != nil || len(attestations) != 2 {
				t.Errorf("bundles: got %d, %v, want the signature and the attestation", len(attestations), err)
			}
		})
	}
}

// TestWhatCosignWritesVerifies has cosign's library attach a bundle.
func TestWhatCosignWritesVerifies(t *testing.T) {
	for _, shape := range []registrytest.Shape{registrytest.Referrers, registrytest.Fallback} {
		t.Run(string(shape), func(t *testing.T) {
			p := start(t, shape)
			ref, err := name.NewDigest(p.target.String())
			if err != nil {
				t.Fatal(err)
			}
			if err := ociremote.WriteAttestationNewBundleFormat(ref, realBundle(t), realPredicate, ociremote.WithRemoteOptions(remote.WithContext(context.Background()))); err != nil {
				t.Fatal(err)
			}
			evidence := p.verify(t, cosign.NewVerifier(cosign.Options{Roots: publicGood(t)}), keyless("cody", realIssuer, realSubject))
			if len(evidence.Attestations) != 1 {
				t.Errorf("got %+v, want one attestation", evidence)
			}
		})
	}
}

// bareRequests makes the requests of a cold verification, one after the other where one names the
// next, and does nothing with the answers.
func bareRequests(b *testing.B, p *place, client *http.Client) {
	get := func(path string) []byte {
		request, err := http.NewRequest(http.MethodGet, p.URL()+"/v2/acme/app/"+path, nil)
		if err != nil {
			b.Fatal(err)
		}
		request.Header.Set("Accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json")
		response, err := client.Do(request)
		if err != nil {
			b.Fatal(err)
		}
		defer response.Body.Close()
		var raw json.RawMessage
		_ = json.NewDecoder(response.Body).Decode(&raw)
		return raw
	}
	var list, held struct {
		Manifests []struct{ Digest string }
		Layers    []struct{ Digest string }
	}
	done := make(chan struct{}, 2)
	for _, suffix := range []string{".sig", ".att"} {
		go func() { get("manifests/" + legacyTag(p.target.Digest, suffix)); done <- struct{}{} }()
	}
	if err := json.Unmarshal(get("referrers/"+p.target.Digest), &list); err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(get("manifests/"+list.Manifests[0].Digest), &held); err != nil {
		b.Fatal(err)
	}
	get("blobs/" + held.Layers[0].Digest)
	<-done
	<-done
}

// BenchmarkColdVerification compares a verification with nothing remembered with its bare requests, at a
// registry that takes 5 ms to answer, as one nearby does.
func BenchmarkColdVerification(b *testing.B) {
	ctx := context.Background()
	key, authority := newKey(b, "release")
	p := start(b, registrytest.Referrers)
	if _, err := cosign.Sign(ctx, p.client, p.target, key, cosign.SignOptions{}); err != nil {
		b.Fatal(err)
	}
	trust, v := compile(b, p.trusts(authority)), verifier()
	p.Inject(registrytest.Slow(5 * time.Millisecond))
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	bare := func() { bareRequests(b, p, &http.Client{Transport: transport}) }
	verify := func() {
		if evidence, err := v.Verify(ctx, p.client, p.target, trust); err != nil || len(evidence.Signatures) != 1 {
			b.Fatal(evidence, err)
		}
	}
	bare()
	p.Forget()
	verify()
	requests := len(p.Requests())
	var bareTime, verifyTime time.Duration
	for b.Loop() {
		started := time.Now()
		bare()
		between := time.Now()
		verify()
		bareTime, verifyTime = bareTime+between.Sub(started), verifyTime+time.Since(between)
	}
	b.ReportMetric(float64(requests), "requests")
	b.ReportMetric(5, "protocol-minimum")
	b.ReportMetric(float64(verifyTime)/float64(bareTime), "times-bare")
	b.ReportMetric(float64(verifyTime.Microseconds())/float64(b.N), "µs/verification")
}

// BenchmarkVerifying is the cost without any network, by form.
func BenchmarkVerifying(b *testing.B) {
	pki, roots := newPKI(b)
	by := newBench(b).by
	v := cosign.NewVerifier(cosign.Options{Roots: roots})
	for _, f := range forms() {
		b.Run(strings.ReplaceAll(f.name, " ", "-"), func(b *testing.B) {
			store := newMemory()
			f.attach(b, pki, by, store, realDigest)
			trust := compile(b, f.authority(by))
			b.ReportAllocs()
			for b.Loop() {
				if counted(verify(b, v, store, realDigest, trust)) != 1 {
					b.Fatal("it does not count")
				}
			}
		})
	}
}
