package cosign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registry"
	upstream "github.com/sigstore/cosign/v2/pkg/cosign"
)

var formats = []string{signer.FormatBundle, signer.FormatLegacy}

const vulnType = "https://cosign.sigstore.dev/attestation/vuln/v1"

// newKey is a key with the authority that trusts it.
func newKey(t testing.TB, name string) (*cosign.Key, signer.Authority) {
	t.Helper()
	key := cosigntest.NewKey(t)
	return key, authorityOf(t, name, key)
}

func authorityOf(t testing.TB, name string, key *cosign.Key) signer.Authority {
	t.Helper()
	return cosigntest.Authority(t, name, "registry.example.com/acme/**", key)
}

// withImage is a store that has the empty image.
func withImage(t testing.TB) (*memory, cosign.Target) {
	t.Helper()
	store := newMemory()
	raw, err := empty.Image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.PushManifest(context.Background(), app, "v1", "application/vnd.docker.distribution.manifest.v2+json", raw); err != nil {
		t.Fatal(err)
	}
	return store, cosign.Target{Repository: app, Digest: realDigest}
}

func statement(t testing.TB, target cosign.Target, predicateType, predicate string) []byte {
	t.Helper()
	s, err := cosign.NewStatement(target, predicateType, []byte(predicate))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verifier() *cosign.Verifier { return cosign.NewVerifier(cosign.Options{}) }

func TestWhatIsSignedVerifies(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "release")
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			store, target := withImage(t)
			if _, err := cosign.Sign(ctx, store, target, key, cosign.SignOptions{Format: format, Annotations: map[string]string{"env": "prod", "team": "a"}}); err != nil {
				t.Fatal(err)
			}
			evidence := verify(t, verifier(), store, target.Digest, compile(t, authority))
			if len(evidence.Signatures) != 1 || len(evidence.Attestations)+len(evidence.Rejected) != 0 {
				t.Fatalf("got %+v, want one signature", evidence)
			}
			got := evidence.Signatures[0]
			want := signer.Signer{Authority: "release", Key: key.Fingerprint(), Format: format}
			if got.Signer != want {
				t.Errorf("got signer %+v, want %+v", got.Signer, want)
			}
			if fmt.Sprint(got.Annotations) != "[{env prod} {team a}]" {
				t.Errorf("got annotations %v, want env=prod and team=a", got.Annotations)
			}
		})
	}
}

func TestWhatIsAttestedVerifies(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "scanner")
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			store, target := withImage(t)
			if _, err := cosign.Attest(ctx, store, target, key, statement(t, target, vulnType, `{"scanner":{"uri":"<a&b>"}}`), cosign.AttestOptions{Format: format}); err != nil {
				t.Fatal(err)
			}
			evidence := verify(t, verifier(), store, target.Digest, compile(t, authority))
			if len(evidence.Attestations) != 1 || len(evidence.Signatures)+len(evidence.Rejected) != 0 {
				t.Fatalf("got %+v, want one attestation and no signature", evidence)
			}
			got := evidence.Attestations[0]
			if got.PredicateType != vulnType || string(got.Predicate) != `{"scanner":{"uri":"<a&b>"}}` || got.Authority != "scanner" || got.Format != format {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestSigningTwiceLeavesOneSignature(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "release")
	other, otherAuthority := newKey(t, "other")
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			store, target := withImage(t)
			for _, by := range []*cosign.Key{other, key, key, other, key} {
				if _, err := cosign.Sign(ctx, store, target, by, cosign.SignOptions{Format: format}); err != nil {
					t.Fatal(err)
				}
			}
			evidence := verify(t, verifier(), store, target.Digest, compile(t, authority, otherAuthority))
			if len(evidence.Signatures) != 2 || evidence.Signatures[0].Authority == evidence.Signatures[1].Authority {
				t.Fatalf("got %+v, want one signature by each key", evidence.Signatures)
			}
		})
	}
}

func TestReplacingKeepsWhatOthersAttested(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "scanner")
	other, otherAuthority := newKey(t, "other")
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			store, target := withImage(t)
			attest := func(by *cosign.Key, predicateType, predicate string, replace bool) {
				t.Helper()
				written, err := cosign.Attest(ctx, store, target, by, statement(t, target, predicateType, predicate), cosign.AttestOptions{Format: format, Replace: replace})
				if err != nil || written.Leftover != nil {
					t.Fatal(err, written.Leftover)
				}
			}
			attest(other, vulnType, `{"n":1}`, true)
			attest(key, "https://spdx.dev/Document", `{"n":2}`, true)
			attest(key, vulnType, `{"n":3}`, false)
			attest(key, vulnType, `{"n":4}`, false)
			attest(key, vulnType, `{"n":5}`, true)
			evidence := verify(t, verifier(), store, target.Digest, compile(t, authority, otherAuthority))
			var got []string
			for _, attestation := range evidence.Attestations {
				got = append(got, attestation.Authority+string(attestation.Predicate))
			}
			if want := `[other{"n":1} scanner{"n":2} scanner{"n":5}]`; fmt.Sprint(got) != want {
				t.Errorf("got %v, want %s", got, want)
			}
		})
	}
}

func TestPredecessorsThatCannotBeRemovedAreNoFault(t *testing.T) {
	store, target := withImage(t)
	store.keeps = true
	key, authority := newKey(t, "scanner")
	var written cosign.Attached
	for range 2 {
		var err error
		written, err = cosign.Attest(context.Background(), store, target, key, statement(t, target, vulnType, `{}`), cosign.AttestOptions{Replace: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	if written.Leftover == nil || !strings.Contains(written.Leftover.Error(), "the registry forbids it") {
		t.Errorf("got leftover %v, want the registry's reason", written.Leftover)
	}
	if got := len(verify(t, verifier(), store, target.Digest, compile(t, authority)).Attestations); got != 2 {
		t.Errorf("got %d attestations, want 2", got)
	}
}

func TestWhatCannotBeReadBackIsAFault(t *testing.T) {
	for name, fault := range map[string]func(string) error{
		"a registry that does not list": func(request string) error { return nil },
		"a registry that fails": func(request string) error {
			if strings.HasPrefix(request, "referrers") {
				return &registry.Error{Kind: registry.Unreachable, What: "listing"}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, target := withImage(t)
			store.fault = fault
			key, _ := newKey(t, "release")
			if _, err := cosign.Sign(context.Background(), forgetful{store}, target, key, cosign.SignOptions{}); err == nil || !strings.Contains(err.Error(), "reading back") {
				t.Errorf("got error %v, want one about reading back", err)
			}
		})
	}
}

// forgetful takes referrers and does not list them.
type forgetful struct{ *memory }

func (f forgetful) PushReferrer(ctx context.Context, repository registry.Repository, _, mediaType string, raw []byte) (registry.Descriptor, error) {
	return f.PushManifest(ctx, repository, registry.DigestOf(raw), mediaType, raw)
}

func TestSigningRefuses(t *testing.T) {
	ctx := context.Background()
	key, _ := newKey(t, "release")
	store, target := withImage(t)
	missing := cosign.Target{Repository: app, Digest: "sha256:" + strings.Repeat("0", 64)}
	for name, test := range map[string]struct {
		sign func() error
		want string
	}{
		"an image that is not there": {want: "fetching", sign: func() error {
			_, err := cosign.Sign(ctx, store, missing, key, cosign.SignOptions{})
			return err
		}},
		"an image that is not there, in the legacy format": {want: "fetching", sign: func() error {
			_, err := cosign.Sign(ctx, store, missing, key, cosign.SignOptions{Format: signer.FormatLegacy})
			return err
		}},
		"another digest than SHA-256": {want: "signatures are about SHA-256 digests", sign: func() error {
			_, err := cosign.Sign(ctx, store, cosign.Target{Repository: app, Digest: "sha512:" + strings.Repeat("0", 128)}, key, cosign.SignOptions{})
			return err
		}},
		"a format that does not exist": {want: `there is no format "pgp"`, sign: func() error {
			_, err := cosign.Sign(ctx, store, target, key, cosign.SignOptions{Format: "pgp"})
			return err
		}},
		"a statement about another image": {want: "it is about another image", sign: func() error {
			_, err := cosign.Attest(ctx, store, target, key, statement(t, missing, vulnType, "{}"), cosign.AttestOptions{})
			return err
		}},
		"a predicate that is no object": {want: "it is no JSON object", sign: func() error {
			_, err := cosign.NewStatement(target, vulnType, []byte("[]"))
			return err
		}},
		"the predicate type of signatures": {want: "none of an attestation", sign: func() error {
			_, err := cosign.NewStatement(target, signer.SignPredicateType, []byte("{}"))
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.sign(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestOneScanADayForAYearLeavesOneReferrer(t *testing.T) {
	key, authority := newKey(t, "scanner")
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			store, target := withImage(t)
			for day := range 365 {
				predicate := fmt.Sprintf(`{"day":%d}`, day)
				if _, err := cosign.Attest(context.Background(), store, target, key, statement(t, target, vulnType, predicate), cosign.AttestOptions{Format: format, Replace: true}); err != nil {
					t.Fatalf("day %d: %v", day, err)
				}
			}
			evidence := verify(t, verifier(), store, target.Digest, compile(t, authority))
			if len(evidence.Attestations) != 1 || string(evidence.Attestations[0].Predicate) != `{"day":364}` || len(evidence.Rejected) != 0 {
				t.Errorf("got %+v, want the last day's attestation alone", evidence)
			}
		})
	}
}

func TestKeyPairsAreThoseOfCosign(t *testing.T) {
	password := []byte("correct horse")
	private, public, err := cosign.GenerateKeyPair(password)
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(private); block == nil || block.Type != "ENCRYPTED SIGSTORE PRIVATE KEY" {
		t.Errorf("got %s, want an encrypted Sigstore private key", private)
	}
	if _, err := upstream.LoadPrivateKey(private, password, nil); err != nil {
		t.Errorf("cosign reads our key: %v", err)
	}
	theirs, err := upstream.GenerateKeyPair(func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cosign.LoadPrivateKey(theirs.PrivateBytes, password); err != nil {
		t.Errorf("reading cosign's key: %v", err)
	}
	key, err := cosign.LoadPrivateKey(private, password)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := key.PublicPEM(); err != nil || text != string(public) {
		t.Errorf("got public key %s (%v), want %s", text, err, public)
	}
}

func TestPrivateKeysAreRefused(t *testing.T) {
	private, public, err := cosign.GenerateKeyPair([]byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text     []byte
		password string
		want     string
	}{
		"with the wrong password": {private, "wrong", "the password does not decrypt it"},
		"without a password":      {private, "", "the password does not decrypt it"},
		"that are public":         {public, "right", "it is a public key"},
		"that are no PEM":         {[]byte("hello"), "right", "it is no PEM"},
		"that are cut":            {bytes.Replace(private, []byte("ENCRYPTED SIGSTORE "), nil, 2), "", "reading the private key"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := cosign.LoadPrivateKey(test.text, []byte(test.password)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestStatementsOutsideARegistryVerify(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "scanner")
	trust := compile(t, authority)
	store, target := withImage(t)
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			content, err := cosign.SignStatement(target, key, statement(t, target, vulnType, `{"a":1}`), format)
			if err != nil {
				t.Fatal(err)
			}
			attestations, rejections := verifier().VerifyEnvelope(ctx, content, target.Digest, app, trust)
			if len(attestations) != 1 || len(rejections) != 0 || attestations[0].Authority != "scanner" || attestations[0].Format != format {
				t.Fatalf("got %+v and %+v, want one attestation", attestations, rejections)
			}
			for name, broken := range map[string][]byte{
				"another digest's":    bytes.Clone(content),
				"a tampered one":      bytes.Replace(content, []byte(`"sig":"MEU`), []byte(`"sig":"MEV`), 1),
				"half of one":         content[:len(content)/2],
				"nothing":             nil,
				"a list":              []byte(`[1]`),
				"an empty object":     []byte(`{}`),
				"a bundle of nothing": []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`),
			} {
				digest := target.Digest
				if name == "another digest's" {
					digest = "sha256:" + strings.Repeat("1", 64)
				} else if bytes.Equal(broken, content) {
					continue // the signature begins otherwise this time
				}
				attestations, rejections := verifier().VerifyEnvelope(ctx, broken, digest, app, trust)
				if len(attestations) != 0 || len(rejections) != 1 {
					t.Errorf("%s: got %+v and %+v, want one rejection", name, attestations, rejections)
				}
			}
		})
	}
	_ = store
}

func TestWhatWasSignedElsewhereIsAttached(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "scanner")
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			store, target := withImage(t)
			for n := range 2 {
				content, err := cosign.SignStatement(target, key, statement(t, target, vulnType, fmt.Sprintf(`{"n":%d}`, n)), format)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := cosign.Attach(ctx, store, target, content); err != nil {
					t.Fatal(err)
				}
			}
			evidence := verify(t, verifier(), store, target.Digest, compile(t, authority))
			if len(evidence.Attestations) != 2 || evidence.Attestations[0].Format != format {
				t.Errorf("got %+v, want two attestations", evidence)
			}
			other := cosign.Target{Repository: app, Digest: otherDigest}
			content, err := cosign.SignStatement(other, key, statement(t, other, vulnType, "{}"), format)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cosign.Attach(ctx, store, target, content); err == nil || !strings.Contains(err.Error(), "it is about another image") {
				t.Errorf("got error %v, want one about another image", err)
			}
		})
	}
}

func TestErrorsOfTheRegistryAreNeverTheWantOfASignature(t *testing.T) {
	key, authority := newKey(t, "release")
	for _, kind := range []registry.Kind{registry.Unauthorized, registry.Forbidden, registry.RateLimited, registry.Timeout, registry.Mismatch, registry.Unreachable, registry.TooMany} {
		for _, request := range []string{"resolve " + legacyTag(realDigest, ".sig"), "resolve " + legacyTag(realDigest, ".att"), "referrers ", "manifest ", "blob "} {
			t.Run(string(kind)+" at "+request, func(t *testing.T) {
				store, target := withImage(t)
				if _, err := cosign.Sign(context.Background(), store, target, key, cosign.SignOptions{}); err != nil {
					t.Fatal(err)
				}
				fault := &registry.Error{Kind: kind, Host: "registry.example.com", What: "asking"}
				store.fault = func(asked string) error {
					if strings.HasPrefix(asked, request) {
						return fault
					}
					return nil
				}
				evidence, err := verifier().Verify(context.Background(), store, target, compile(t, authority))
				if !errors.Is(err, fault) {
					t.Errorf("got %+v and error %v, want the registry's fault", evidence, err)
				}
			})
		}
	}
}

func legacyTag(digest, suffix string) string { return strings.Replace(digest, ":", "-", 1) + suffix }

func TestVerifyingMakesNoMoreRequestsThanTheProtocolNeeds(t *testing.T) {
	ctx := context.Background()
	key, authority := newKey(t, "release")
	store, target := withImage(t)
	for _, format := range formats {
		if _, err := cosign.Sign(ctx, store, target, key, cosign.SignOptions{Format: format}); err != nil {
			t.Fatal(err)
		}
		if _, err := cosign.Attest(ctx, store, target, key, statement(t, target, vulnType, "{}"), cosign.AttestOptions{Format: format}); err != nil {
			t.Fatal(err)
		}
	}
	store.requests = map[string]int{}
	evidence := verify(t, verifier(), store, target.Digest, compile(t, authority))
	if len(evidence.Signatures) != 2 || len(evidence.Attestations) != 2 {
		t.Fatalf("got %+v, want two signatures and two attestations", evidence)
	}
	got, _ := json.Marshal(store.requests)
	if want := `{"blob":4,"manifest":2,"referrers":1,"resolve":2}`; string(got) != want {
		t.Errorf("got requests %s, want %s", got, want)
	}
}

func TestImagesThatNobodyMaySignCostNoRequest(t *testing.T) {
	_, authority := newKey(t, "release")
	authority.Images = []string{"ghcr.io/acme/**"}
	store, target := withImage(t)
	evidence := verify(t, verifier(), store, target.Digest, compile(t, authority))
	if len(store.requests) != 0 || len(evidence.Signatures) != 0 {
		t.Errorf("got %+v after requests %v, want neither", evidence, store.requests)
	}
}
