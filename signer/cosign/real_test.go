package cosign_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// The public-good attestation in cosign's test data (Apache-2.0) is about the empty image of
// go-containerregistry.
const (
	realSubject   = "cody@soyland.com"
	realIssuer    = "https://github.com/login/oauth"
	realPredicate = "https://cosign.sigstore.dev/attestation/v1"
	realDigest    = "sha256:732112270d7e59418a8c080b134b24cabd67d250d0d0147a97ed95ba5c280aa4"
)

var app = registry.Repository{Registry: "registry.example.com", Path: "acme/app"}

func realBundle(t testing.TB) []byte {
	return modules.file(t, cosignModule, "pkg/cosign/testdata/oci-attestation.sigstore.json")
}

func publicGood(t testing.TB) *cosign.Roots {
	t.Helper()
	roots, err := cosign.ParseRoots(modules.file(t, cosignModule, "pkg/cosign/testdata/trusted_root_pgi.json"))
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

func compile(t testing.TB, authorities ...signer.Authority) *signer.Configuration {
	t.Helper()
	configuration, err := signer.Compile(&signer.Trust{Authorities: authorities})
	if err != nil {
		t.Fatal(err)
	}
	return configuration
}

func keyless(name, issuer, subject string) signer.Authority {
	return signer.Authority{Name: name, Images: []string{"registry.example.com/acme/**"}, Identities: []signer.Identity{{Issuer: issuer, Subject: subject}}}
}

// attachBundle attaches a bundle as cosign v3 does.
func attachBundle(t testing.TB, to cosign.Destination, digest string, bundle []byte) registry.Descriptor {
	t.Helper()
	return attachLayer(t, to, digest, "application/vnd.dev.sigstore.bundle.v0.3+json", bundle)
}

func attachLayer(t testing.TB, to cosign.Destination, digest, mediaType string, content []byte) registry.Descriptor {
	t.Helper()
	ctx := context.Background()
	config, err := to.PushBlob(ctx, app, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := to.PushBlob(ctx, app, content)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": mediaType,
		"config":  map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "digest": config.Digest, "size": config.Size},
		"layers":  []any{map[string]any{"mediaType": mediaType, "digest": layer.Digest, "size": layer.Size}},
		"subject": map[string]any{"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "digest": digest, "size": 264},
	})
	if err != nil {
		t.Fatal(err)
	}
	attached, err := to.PushReferrer(ctx, app, digest, "application/vnd.oci.image.manifest.v1+json", raw)
	if err != nil {
		t.Fatal(err)
	}
	return attached
}

func emptyDigest(t testing.TB) string {
	t.Helper()
	digest, err := empty.Image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func verify(t testing.TB, v *cosign.Verifier, source cosign.Source, digest string, trust *signer.Configuration) signer.Evidence {
	t.Helper()
	evidence, err := v.Verify(context.Background(), source, cosign.Target{Repository: app, Digest: digest}, trust)
	if err != nil {
		t.Fatal(err)
	}
	return evidence
}

func TestRealKeylessAttestationCounts(t *testing.T) {
	if got := emptyDigest(t); got != realDigest {
		t.Fatalf("the empty image has the digest %s, want %s", got, realDigest)
	}
	store := newMemory()
	attachBundle(t, store, realDigest, realBundle(t))
	evidence := verify(t, cosign.NewVerifier(cosign.Options{Roots: publicGood(t)}), store, realDigest, compile(t, keyless("cody", realIssuer, realSubject)))
	if len(evidence.Attestations) != 1 || len(evidence.Signatures) != 0 || len(evidence.Rejected) != 0 {
		t.Fatalf("got %+v, want one attestation", evidence)
	}
	got := evidence.Attestations[0]
	want := signer.Signer{Authority: "cody", Issuer: realIssuer, Subject: realSubject, Format: signer.FormatBundle, Time: "2025-02-28T19:18:11Z"}
	if got.Signer != want {
		t.Errorf("got signer %+v, want %+v", got.Signer, want)
	}
	if got.PredicateType != realPredicate {
		t.Errorf("got predicate type %q, want %q", got.PredicateType, realPredicate)
	}
	if !strings.HasPrefix(got.Digest, "sha256:") || !json.Valid(got.Predicate) {
		t.Errorf("got digest %q and predicate %s", got.Digest, got.Predicate)
	}
}

func TestRealKeylessAttestationIsRefused(t *testing.T) {
	otherDigest := "sha256:" + strings.Repeat("ab", 32)
	for name, test := range map[string]struct {
		digest          string
		bundle          func([]byte) []byte
		issuer, subject string
		want            string
	}{
		"with a byte of the payload changed":   {bundle: tamper(`"dsseEnvelope"`, "payload"), want: "payload hash"},
		"with a byte of the signature changed": {bundle: tamper(`"signatures"`, "sig"), want: "signature"},
		"of another image":                     {digest: otherDigest, want: "it is about another image"},
		"by another identity":                  {subject: "mallory@soyland.com", want: "signed by cody@soyland.com (issuer https://github.com/login/oauth), which no authority for registry.example.com/acme/app accepts"},
		"by another issuer":                    {issuer: "https://accounts.google.com", want: "signed by cody@soyland.com (issuer https://github.com/login/oauth), which no authority for registry.example.com/acme/app accepts"},
	} {
		t.Run(name, func(t *testing.T) {
			digest, issuer, subject, content := realDigest, realIssuer, realSubject, realBundle(t)
			if test.digest != "" {
				digest = test.digest
			}
			if test.issuer != "" {
				issuer = test.issuer
			}
			if test.subject != "" {
				subject = test.subject
			}
			if test.bundle != nil {
				changed := test.bundle(content)
				if bytes.Equal(changed, content) {
					t.Fatal("nothing was changed")
				}
				content = changed
			}
			store := newMemory()
			attachBundle(t, store, digest, content)
			evidence := verify(t, cosign.NewVerifier(cosign.Options{Roots: publicGood(t)}), store, digest, compile(t, keyless("cody", issuer, subject)))
			wantRejected(t, evidence, test.want)
		})
	}
}

// wantRejected wants nothing to count, and one reason.
func wantRejected(t testing.TB, evidence signer.Evidence, reason string) {
	t.Helper()
	if len(evidence.Signatures)+len(evidence.Attestations) != 0 {
		t.Fatalf("got %+v, want nothing that counts", evidence)
	}
	if len(evidence.Rejected) != 1 || !strings.Contains(evidence.Rejected[0].Reason, reason) {
		t.Fatalf("got rejected %+v, want one because of %q", evidence.Rejected, reason)
	}
}

// tamper flips one bit of a base64 value that follows a name after another one.
func tamper(after, name string) func([]byte) []byte {
	return func(content []byte) []byte {
		text := string(content)
		at := strings.Index(text, after)
		at += strings.Index(text[at:], `"`+name+`"`)
		start := at + strings.Index(text[at:], ":") + 1
		start += strings.Index(text[start:], `"`) + 1
		end := start + strings.Index(text[start:], `"`)
		value, err := base64.StdEncoding.DecodeString(text[start:end])
		if err != nil {
			return content
		}
		value[len(value)-12] ^= 1
		return []byte(text[:start] + base64.StdEncoding.EncodeToString(value) + text[end:])
	}
}
