package cosign_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/signertest"
)

// bench is a PKI, a key and a store to attack.
type bench struct {
	testing.TB
	pki   *signertest.PKI
	roots *cosign.Roots
	by    *signertest.Key
	store *memory
}

func newBench(t testing.TB) *bench {
	pki, roots := newPKI(t)
	return &bench{TB: t, pki: pki, roots: roots, by: must[*signertest.Key](t)(signertest.NewKey()), store: newMemory()}
}

func (b *bench) verify(digest string, authorities ...signer.Authority) signer.Evidence {
	b.Helper()
	return verify(b, cosign.NewVerifier(cosign.Options{Roots: b.roots}), b.store, digest, compile(b, authorities...))
}

func (b *bench) byKey() signer.Authority { return form{key: true}.authority(b.by) }

func (b *bench) signatureStatement(digest string) []byte {
	return must[[]byte](b)(signertest.SignatureStatement(digest, nil))
}

func (b *bench) statement(digest, predicateType string) []byte {
	return must[[]byte](b)(signertest.Statement(digest, predicateType, map[string]any{}))
}

func (b *bench) signAs(subject, issuer string) {
	b.Helper()
	identity := signertest.Identity{Subject: subject, Issuer: issuer}
	attachBundle(b, b.store, realDigest, must[[]byte](b)(b.pki.SignStatement(identity, b.signatureStatement(realDigest))))
}

const otherDigest = "sha256:abababababababababababababababababababababababababababababababab"

// TestHostileLogEntryCrashesNothing: {"Payload":{"body":123}} in the annotation of a signature ends
// every process that verifies with cosign before 3.0.5 (https://github.com/sigstore/cosign/pull/4648).
func TestHostileLogEntryCrashesNothing(t *testing.T) {
	b := newBench(t)
	payload := must[[]byte](t)(signertest.SimpleSigning(app.String(), realDigest, nil))
	statement := b.statement(realDigest, vulnType)
	for _, hostile := range []string{
		`{"Payload":{"body":123}}`, `{"Payload":{"body":null}}`, `{"Payload":{"body":{"a":[]}}}`, `{"Payload":{}}`, `{}`, `null`, `[]`, `"`,
		`{"SignedEntryTimestamp":"AA==","Payload":{"body":"bm8=","integratedTime":1,"logIndex":-1,"logID":"zz"}}`,
		`{"Payload":{"body":"eyJhcGlWZXJzaW9uIjoiMC4wLjEiLCJraW5kIjoiZHNzZSIsInNwZWMiOnsiZW52ZWxvcGVIYXNoIjpudWxsLCJwYXlsb2FkSGFzaCI6bnVsbCwic2lnbmF0dXJlcyI6W119fQ=="}}`,
		`{"Payload":{"body":"eyJhcGlWZXJzaW9uIjoiMC4wLjEiLCJraW5kIjoiaGFzaGVkcmVrb3JkIiwic3BlYyI6eyJkYXRhIjp7fSwic2lnbmF0dXJlIjp7fX19"}}`,
	} {
		for _, f := range forms() {
			if f.format != signer.FormatLegacy {
				continue
			}
			t.Run(f.name+" "+hostile, func(t *testing.T) {
				b.store = newMemory()
				var layer signertest.Legacy
				suffix := ".sig"
				switch {
				case f.attestation && f.key:
					layer, suffix = must[signertest.Legacy](t)(b.pki.SignLegacyStatementWithKey(b.by, statement)), ".att"
				case f.attestation:
					layer, suffix = must[signertest.Legacy](t)(b.pki.SignLegacyStatement(releaseWorkflow, statement)), ".att"
				case f.key:
					layer = must[signertest.Legacy](t)(b.pki.SignPayloadWithKey(b.by, payload))
				default:
					layer = must[signertest.Legacy](t)(b.pki.SignPayload(releaseWorkflow, payload))
				}
				layer.Annotations[signertest.LogAnnotation] = hostile
				attachLegacy(t, b.store, realDigest, suffix, layer)
				authority := f.authority(b.by)
				authority.TransparencyLog = f.key
				if evidence := b.verify(realDigest, authority); counted(evidence) != 0 || len(evidence.Rejected) != 1 {
					t.Errorf("got %+v, want one rejection", evidence)
				}
			})
		}
	}
}

// TestHostileContentDoesNotHideTheGoodSignature: whoever can push can attach rubbish; that must not
// take an image's signature away.
func TestHostileContentDoesNotHideTheGoodSignature(t *testing.T) {
	b := newBench(t)
	attachBundle(t, b.store, realDigest, []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`))
	attachBundle(t, b.store, realDigest, []byte("\x00"))
	attachLayer(t, b.store, realDigest, "application/vnd.oci.image.layer.v1.tar+gzip", []byte("layer"))
	attachBundle(t, b.store, realDigest, must[[]byte](t)(b.pki.SignStatementWithKey(b.by, b.signatureStatement(realDigest))))
	broken := must[signertest.Legacy](t)(b.pki.SignPayloadWithKey(b.by, []byte("{}")))
	broken.Annotations[signertest.LogAnnotation] = `{"Payload":{"body":123}}`
	attachLegacy(t, b.store, realDigest, ".sig", broken)
	b.store.listed[realDigest] = append(b.store.listed[realDigest], registry.Descriptor{Digest: otherDigest}) // deleted since
	evidence := b.verify(realDigest, b.byKey())
	if len(evidence.Signatures) != 1 || len(evidence.Rejected) != 4 {
		t.Errorf("got %+v, want one signature and four rejections", evidence)
	}
}

// TestUnsignedReferrerNeverCounts: policy-controller takes any referrer whose artifact type contains
// "in-toto" for a verified attestation (pkg/webhook/validation.go, discoverAttestationsOCI11).
func TestUnsignedReferrerNeverCounts(t *testing.T) {
	b := newBench(t)
	attachLayer(t, b.store, realDigest, "application/vnd.in-toto+json", b.statement(realDigest, vulnType))
	wantRejected(t, b.verify(realDigest, b.byKey()), "it is a statement that nobody signed")
}

// TestAttestationIsNoSignature: cosign 2.6 verify takes any attestation in a bundle for a signature.
func TestAttestationIsNoSignature(t *testing.T) {
	b := newBench(t)
	attachBundle(t, b.store, realDigest, must[[]byte](t)(b.pki.SignStatementWithKey(b.by, b.statement(realDigest, "https://spdx.dev/Document"))))
	evidence := b.verify(realDigest, b.byKey())
	if len(evidence.Signatures) != 0 || len(evidence.Attestations) != 1 {
		t.Errorf("got %+v, want an attestation and no signature", evidence)
	}
}

func TestSignatureIsNoAttestation(t *testing.T) {
	b := newBench(t)
	attachBundle(t, b.store, realDigest, must[[]byte](t)(b.pki.SignStatementWithKey(b.by, b.signatureStatement(realDigest))))
	evidence := b.verify(realDigest, b.byKey())
	if len(evidence.Signatures) != 1 || len(evidence.Attestations) != 0 {
		t.Errorf("got %+v, want a signature and no attestation", evidence)
	}
}

// TestAttestationOfAnotherType is CVE-2022-35930 and CVE-2022-35929: what counts keeps its exact type.
func TestAttestationOfAnotherType(t *testing.T) {
	b := newBench(t)
	for _, predicateType := range []string{"https://spdx.dev/Document", vulnType + "/", strings.ToUpper(vulnType)} {
		b.store = newMemory()
		attachBundle(t, b.store, realDigest, must[[]byte](t)(b.pki.SignStatementWithKey(b.by, b.statement(realDigest, predicateType))))
		evidence := b.verify(realDigest, b.byKey())
		if len(evidence.Attestations) != 1 || evidence.Attestations[0].PredicateType != predicateType {
			t.Errorf("got %+v, want the type %s as it was signed", evidence, predicateType)
		}
	}
}

// TestLabelsDecideNothing: what registry, index and manifest say of a bundle is nobody's word.
func TestLabelsDecideNothing(t *testing.T) {
	b := newBench(t)
	attached := attachBundle(t, b.store, realDigest, must[[]byte](t)(b.pki.SignStatementWithKey(b.by, b.signatureStatement(realDigest))))
	for _, label := range []registry.Descriptor{
		{Digest: attached.Digest, ArtifactType: "application/vnd.oci.empty.v1+json"}, // cosign v3 in a fallback tag
		{Digest: attached.Digest},
		{Digest: attached.Digest, ArtifactType: "application/spdx+json", Annotations: map[string]string{"dev.sigstore.bundle.predicateType": "https://spdx.dev/Document"}},
	} {
		b.store.listed[realDigest] = []registry.Descriptor{label}
		if evidence := b.verify(realDigest, b.byKey()); len(evidence.Signatures) != 1 {
			t.Errorf("labelled %+v: got %+v, want one signature", label, evidence)
		}
	}
}

// TestRevokedSignatureIsGone: nothing is remembered between two verifications.
func TestRevokedSignatureIsGone(t *testing.T) {
	b := newBench(t)
	attached := attachBundle(t, b.store, realDigest, must[[]byte](t)(b.pki.SignStatementWithKey(b.by, b.signatureStatement(realDigest))))
	v, trust := cosign.NewVerifier(cosign.Options{}), compile(t, b.byKey())
	if got := len(verify(t, v, b.store, realDigest, trust).Signatures); got != 1 {
		t.Fatalf("got %d signatures, want 1", got)
	}
	if err := b.store.RemoveReferrer(context.Background(), app, realDigest, attached.Digest); err != nil {
		t.Fatal(err)
	}
	if got := len(verify(t, v, b.store, realDigest, trust).Signatures); got != 0 {
		t.Errorf("got %d signatures after it was removed, want 0", got)
	}
}

// TestOtherIdentities are CVE-2025-29778 and the unanchored expressions of every peer.
func TestOtherIdentities(t *testing.T) {
	expression := signer.Authority{Name: "release", Images: []string{"registry.example.com/acme/**"}, Identities: []signer.Identity{{
		Issuer: githubIssuer, SubjectRegExp: `https://github\.com/acme/[a-z]+/\.github/workflows/release\.yml@refs/tags/v[0-9.]+`,
	}}}
	for name, test := range map[string]struct {
		subject, issuer string
		accepted        bool
	}{
		"the right one":                           {subject: releaseWorkflow.Subject, issuer: githubIssuer, accepted: true},
		"an owner whose name begins the same":     {subject: "https://github.com/acme-evil/app/.github/workflows/release.yml@refs/tags/v1.0.0", issuer: githubIssuer},
		"the right subject within another":        {subject: "https://evil.example.com/?" + releaseWorkflow.Subject, issuer: githubIssuer},
		"the right subject with something behind": {subject: releaseWorkflow.Subject + "-evil", issuer: githubIssuer},
		"another repository":                      {subject: "https://github.com/mallory/app/.github/workflows/release.yml@refs/tags/v1.0.0", issuer: githubIssuer},
		"another issuer":                          {subject: releaseWorkflow.Subject, issuer: "https://token.actions.githubusercontent.com.evil.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.signAs(test.subject, test.issuer)
			evidence := b.verify(realDigest, expression)
			if test.accepted {
				if len(evidence.Signatures) != 1 {
					t.Errorf("got %+v, want one signature", evidence)
				}
				return
			}
			wantRejected(t, evidence, fmt.Sprintf("signed by %s (issuer %s), which no authority for registry.example.com/acme/app accepts", test.subject, test.issuer))
		})
	}
}

func TestWorkflowClaimsAreCompared(t *testing.T) {
	for name, test := range map[string]struct {
		claims   signer.GitHubWorkflow
		accepted bool
	}{
		"all as they are":    {releaseWorkflow.GitHubWorkflow, true},
		"another repository": {signer.GitHubWorkflow{Repository: "acme/other"}, false},
		"another trigger":    {signer.GitHubWorkflow{Trigger: "pull_request"}, false},
	} {
		for _, format := range formats {
			t.Run(name+" "+format, func(t *testing.T) {
				b, f := newBench(t), form{format: format}
				f.attach(t, b.pki, b.by, b.store, realDigest)
				authority := f.authority(b.by)
				authority.Identities[0].GitHubWorkflow = &test.claims
				if evidence := b.verify(realDigest, authority); (len(evidence.Signatures) == 1) != test.accepted {
					t.Errorf("got %+v, want accepted %t", evidence, test.accepted)
				}
			})
		}
	}
}

// TestTwoIdentitiesOfOneAuthority: cosign's bundle path takes no more than one.
func TestTwoIdentitiesOfOneAuthority(t *testing.T) {
	b := newBench(t)
	authority := keyless("release", githubIssuer, "https://github.com/acme/other/.github/workflows/release.yml@refs/heads/main")
	authority.Identities = append(authority.Identities, signer.Identity{Issuer: releaseWorkflow.Issuer, Subject: releaseWorkflow.Subject})
	for _, format := range formats {
		form{format: format}.attach(t, b.pki, b.by, b.store, realDigest)
	}
	if evidence := b.verify(realDigest, authority); len(evidence.Signatures) != 2 {
		t.Errorf("got %+v, want the signatures of both formats", evidence)
	}
}

func TestWhatSeveralAuthoritiesAcceptIsListedForEach(t *testing.T) {
	b := newBench(t)
	f := form{format: signer.FormatBundle, key: true}
	f.attach(t, b.pki, b.by, b.store, realDigest)
	first, second := f.authority(b.by), f.authority(b.by)
	first.Name, second.Name = "b-first", "a-second"
	evidence := b.verify(realDigest, first, second)
	if len(evidence.Signatures) != 2 || evidence.Signatures[0].Authority != "b-first" || evidence.Signatures[1].Authority != "a-second" {
		t.Errorf("got %+v, want one for each authority, in the order of the bundle", evidence.Signatures)
	}
}

func TestSignedAnnotationsAreDemanded(t *testing.T) {
	b := newBench(t)
	for _, f := range forms() {
		if f.attestation {
			continue
		}
		for value, accepted := range map[string]bool{"prod": true, "test": false} {
			t.Run(f.name+" "+value, func(t *testing.T) {
				b.store = newMemory()
				f.attach(t, b.pki, b.by, b.store, realDigest)
				authority := f.authority(b.by)
				authority.Annotations = map[string]string{"env": value}
				evidence := b.verify(realDigest, authority)
				if accepted {
					if len(evidence.Signatures) != 1 {
						t.Errorf("got %+v, want one signature", evidence)
					}
					return
				}
				wantRejected(t, evidence, "the signature does not cover the annotation env=test")
			})
		}
	}
}

// TestPayloadThatDoesNotParse is CVE-2026-39395: a parse error is no approval.
func TestPayloadThatDoesNotParse(t *testing.T) {
	b := newBench(t)
	whole := b.statement(realDigest, vulnType)
	for name, payload := range map[string][]byte{
		"half of it":                  whole[:len(whole)/2],
		"nothing":                     {},
		"a list":                      []byte(`[]`),
		"no predicate type":           bytes.Replace(whole, []byte(`"predicateType"`), []byte(`"predicatetype"`), 1),
		"two predicate types":         append(bytes.TrimSuffix(whole, []byte("}")), []byte(`,"predicateType":"https://spdx.dev/Document"}`)...),
		"another type of statement":   bytes.Replace(whole, []byte("Statement/v1"), []byte("Statement/v9"), 1),
		"something behind it":         append(bytes.Clone(whole), []byte(`{}`)...),
		"a subject that is no list":   []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":{},"predicateType":"x","predicate":{}}`),
		"no subject":                  []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x","predicate":{}}`),
		"a subject with other hashes": []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha512":"` + realDigest[7:] + `"}}],"predicateType":"x","predicate":{}}`),
		"a subject in upper case":     []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + strings.ToUpper(realDigest[7:]) + `"}}],"predicateType":"x","predicate":{}}`),
	} {
		for _, format := range formats {
			t.Run(name+" "+format, func(t *testing.T) {
				b.store = newMemory()
				if format == signer.FormatBundle {
					attachBundle(t, b.store, realDigest, must[[]byte](t)(b.pki.SignStatementWithKey(b.by, payload)))
				} else {
					attachLegacy(t, b.store, realDigest, ".att", must[signertest.Legacy](t)(b.pki.SignLegacyStatementWithKey(b.by, payload)))
				}
				if evidence := b.verify(realDigest, b.byKey()); counted(evidence) != 0 || len(evidence.Rejected) != 1 {
					t.Errorf("got %+v, want one rejection", evidence)
				}
			})
		}
	}
}

// TestReplayedForAnotherDigest is CVE-2023-33959 and CVE-2024-23332: a good signature of another image.
func TestReplayedForAnotherDigest(t *testing.T) {
	b := newBench(t)
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			b.store = newMemory()
			f.attach(t, b.pki, b.by, b.store, otherDigest)
			b.store.listed[realDigest] = b.store.listed[otherDigest]
			for _, suffix := range []string{".sig", ".att"} {
				if raw, ok := b.store.manifests[legacyTag(otherDigest, suffix)]; ok {
					b.store.manifests[legacyTag(realDigest, suffix)] = raw
				}
			}
			if evidence := b.verify(otherDigest, f.authority(b.by)); counted(evidence) != 1 {
				t.Fatalf("got %+v for the right digest, want one that counts", evidence)
			}
			wantRejected(t, b.verify(realDigest, f.authority(b.by)), "it is about another image")
		})
	}
}

// TestEndlessAttachments are CVE-2023-46737, CVE-2024-45395, CVE-2024-29902 and CVE-2024-29903: what is
// read of one image is bounded.
func TestEndlessAttachments(t *testing.T) {
	v := func(limits cosign.Limits) *cosign.Verifier { return cosign.NewVerifier(cosign.Options{Limits: limits}) }
	b := newBench(t)
	bundle := must[[]byte](t)(b.pki.SignStatementWithKey(b.by, b.signatureStatement(realDigest)))
	layer := must[signertest.Legacy](t)(b.pki.SignPayloadWithKey(b.by, must[[]byte](t)(signertest.SimpleSigning(app.String(), realDigest, nil))))
	for name, test := range map[string]struct {
		attach func(*memory)
		limits cosign.Limits
		// reads is how many blobs may be asked for at most.
		reads int
	}{
		"more referrers than are read": {reads: 0, attach: func(store *memory) {
			for range 51 {
				attachBundle(t, store, realDigest, bundle)
			}
		}},
		"a million referrers": {reads: 0, attach: func(store *memory) {
			store.listed[realDigest] = make([]registry.Descriptor, 1_000_000)
		}},
		"more layers than are read": {reads: 0, attach: func(store *memory) {
			attachLegacy(t, store, realDigest, ".sig", make([]signertest.Legacy, 101)...)
		}},
		"referrers with many layers each": {reads: 250, attach: func(store *memory) {
			for n := range 50 {
				var layers []string
				for range 20 {
					blob, _ := store.PushBlob(context.Background(), app, []byte("{}"))
					layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","digest":%q,"size":2}`, blob.Digest))
				}
				raw := fmt.Sprintf(`{"schemaVersion":2,"config":{},"annotations":{"n":"%d"},"layers":[%s]}`, n, strings.Join(layers, ","))
				if _, err := store.PushReferrer(context.Background(), app, realDigest, "", []byte(raw)); err != nil {
					t.Fatal(err)
				}
			}
		}},
		"more bytes than are read": {reads: 4, limits: cosign.Limits{Total: 4 * int64(len(bundle))}, attach: func(store *memory) {
			for range 5 {
				attachBundle(t, store, realDigest, bundle)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			store := newMemory()
			test.attach(store)
			_, err := v(test.limits).Verify(context.Background(), store, cosign.Target{Repository: app, Digest: realDigest}, compile(t, b.byKey()))
			if registry.KindOf(err) != registry.TooMany {
				t.Errorf("got error %v, want one of kind %q", err, registry.TooMany)
			}
			if got := store.requests["blob"]; got > test.reads {
				t.Errorf("got %d blobs read, want at most %d", got, test.reads)
			}
		})
	}
	t.Run("one that is too large, beside a good one", func(t *testing.T) {
		store := newMemory()
		attachBundle(t, store, realDigest, bytes.Repeat([]byte("{"), 17<<20))
		attachLegacy(t, store, realDigest, ".sig", layer)
		evidence := verify(t, v(cosign.Limits{}), store, realDigest, compile(t, b.byKey()))
		if len(evidence.Signatures) != 1 || len(evidence.Rejected) != 1 || !strings.Contains(evidence.Rejected[0].Reason, "at most 16777216 are read") {
			t.Errorf("got %+v, want the good one and a rejection of the other", evidence)
		}
		if got := store.requests["blob"]; got != 1 {
			t.Errorf("got %d blobs read, want 1", got)
		}
	})
	t.Run("one whose size is a lie", func(t *testing.T) {
		store := newMemory()
		attachBundle(t, store, realDigest, bundle)
		for digest, content := range store.blobs {
			if bytes.Equal(content, bundle) {
				store.blobs[digest] = append(bytes.Clone(bundle), make([]byte, 1<<20)...)
			}
		}
		wantRejected(t, verify(t, v(cosign.Limits{}), store, realDigest, compile(t, b.byKey())), "its content cannot be read")
	})
}

// TestGzipBomb is CVE-2023-42813: nothing that is attached is unpacked.
func TestGzipBomb(t *testing.T) {
	b := newBench(t)
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	for range 64 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	attachBundle(t, b.store, realDigest, bomb.Bytes())
	wantRejected(t, b.verify(realDigest, b.byKey()), "it is no Sigstore bundle")
}

// TestEnvironmentHasNoSay: each of these changes what cosign trusts or reads.
func TestEnvironmentHasNoSay(t *testing.T) {
	other, _ := newPKI(t)
	root := t.TempDir() + "/root.json"
	writeFile(t, root, other.TrustedRoot())
	for _, name := range []string{
		"SIGSTORE_ROOT_FILE", "SIGSTORE_REKOR_PUBLIC_KEY", "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", "SIGSTORE_TSA_CERTIFICATE_FILE", "TUF_ROOT",
		"TUF_MIRROR", "TUF_ROOT_JSON", "COSIGN_REPOSITORY", "COSIGN_EXPERIMENTAL", "COSIGN_MAX_ATTACHMENT_SIZE",
	} {
		t.Setenv(name, root)
	}
	b := newBench(t)
	for _, f := range forms() {
		b.store = newMemory()
		f.attach(t, b.pki, b.by, b.store, realDigest)
		if evidence := b.verify(realDigest, f.authority(b.by)); counted(evidence) != 1 {
			t.Errorf("%s: got %+v, want one that counts", f.name, evidence)
		}
		b.store = newMemory()
		f.attach(t, other, must[*signertest.Key](t)(signertest.NewKey()), b.store, realDigest)
		if evidence := b.verify(realDigest, f.authority(b.by)); counted(evidence) != 0 {
			t.Errorf("%s by others: got %+v, want nothing that counts", f.name, evidence)
		}
	}
}

// TestOtherKeys: the hint in a bundle, or a key of another authority, opens nothing.
func TestOtherKeys(t *testing.T) {
	b := newBench(t)
	mallory := must[*signertest.Key](t)(signertest.NewKey())
	for _, f := range forms() {
		if !f.key {
			continue
		}
		b.store = newMemory()
		f.attach(t, b.pki, mallory, b.store, realDigest)
		wantRejected(t, b.verify(realDigest, b.byKey()), "not signed by the one trusted key")
	}
	t.Run("with the hint of the right one", func(t *testing.T) {
		bundle := must[*signertest.Bundle](t)(signertest.ParseBundle(must[[]byte](t)(b.pki.SignStatementWithKey(mallory, b.signatureStatement(realDigest)))))
		bundle.VerificationMaterial.PublicKey.Hint = b.by.Hint()
		b.store = newMemory()
		attachBundle(t, b.store, realDigest, must[[]byte](t)(bundle.JSON()))
		wantRejected(t, b.verify(realDigest, b.byKey()), "not signed by the one trusted key")
	})
}

// TestACertificateBesideAKeysSignature changes nothing about the key: anybody may have put it there.
func TestACertificateBesideAKeysSignature(t *testing.T) {
	b := newBench(t)
	payload := must[[]byte](t)(signertest.SimpleSigning(app.String(), realDigest, nil))
	layer := must[signertest.Legacy](t)(b.pki.SignPayloadWithKey(b.by, payload))
	for _, fault := range []signertest.Option{signertest.IssuedBefore(0), signertest.ForeignAuthority, signertest.ExpiredCertificate} {
		other := must[signertest.Legacy](t)(b.pki.SignPayload(releaseWorkflow, payload, fault))
		layer.Annotations[signertest.CertificateAnnotation] = other.Annotations[signertest.CertificateAnnotation]
		b.store = newMemory()
		attachLegacy(t, b.store, realDigest, ".sig", layer)
		people := keyless("people", releaseWorkflow.Issuer, releaseWorkflow.Subject)
		evidence := b.verify(realDigest, people, b.byKey())
		if len(evidence.Signatures) != 1 || evidence.Signatures[0].Authority != "release" {
			t.Errorf("got %+v, want the key's signature alone", evidence)
		}
	}
}

func TestReasonsNameWhatWasFound(t *testing.T) {
	b := newBench(t)
	other := keyless("people", "https://accounts.example.com", "a@example.com")
	for name, test := range map[string]struct {
		attach    func()
		authority signer.Authority
		want      string
	}{
		"a key where identities are known": {authority: other, want: "signed by a key, and no authority for registry.example.com/acme/app has keys", attach: func() {
			form{format: signer.FormatBundle, key: true}.attach(t, b.pki, b.by, b.store, realDigest)
		}},
		"a certificate where keys are known": {authority: b.byKey(), want: "signed by certificate, and no authority for registry.example.com/acme/app has identities", attach: func() {
			form{format: signer.FormatBundle}.attach(t, b.pki, b.by, b.store, realDigest)
		}},
		"a key without the log entry that is demanded": {authority: func() signer.Authority { a := b.byKey(); a.TransparencyLog = true; return a }(), want: "signed by the key of release, which demands an entry of a transparency log", attach: func() {
			form{format: signer.FormatLegacy, key: true}.attach(t, b.pki, b.by, b.store, realDigest)
		}},
		"the Notary Project": {authority: b.byKey(), want: "it is a signature of the Notary Project, which is not supported", attach: func() {
			raw := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.cncf.notary.signature","digest":"` + otherDigest + `","size":2},"layers":[{"mediaType":"application/jose+json","digest":"` + otherDigest + `","size":2}]}`)
			if _, err := b.store.PushReferrer(context.Background(), app, realDigest, "application/vnd.oci.image.manifest.v1+json", raw); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b.store = newMemory()
			test.attach()
			wantRejected(t, b.verify(realDigest, test.authority), test.want)
		})
	}
}

// TestIndexes is about which digest must be signed
// (https://github.com/kyverno/kyverno/issues/12630): the one that the pod names.
func TestIndexes(t *testing.T) {
	const amd64, arm64, nested, build = "amd64", "arm64", "nested", "build"
	digests := map[string]string{}
	push := func(store *memory, raw string) string {
		pushed, err := store.PushManifest(context.Background(), app, registry.DigestOf([]byte(raw)), "", []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return pushed.Digest
	}
	index := func(store *memory, platforms ...string) string {
		var list []string
		for _, platform := range platforms {
			raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[],"annotations":{"for":%q}}`, platform)
			os, architecture, mediaType := "linux", platform, "application/vnd.oci.image.manifest.v1+json"
			switch platform {
			case build:
				os, architecture = "unknown", "unknown"
			case "windows":
				os, architecture = "windows", "amd64"
			case nested:
				raw = fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}]}`, digests[arm64])
				mediaType = "application/vnd.oci.image.index.v1+json"
			}
			digests[platform] = push(store, raw)
			list = append(list, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":%q,"architecture":%q}}`, mediaType, digests[platform], len(raw), os, architecture))
		}
		return push(store, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`+strings.Join(list, ",")+`]}`)
	}
	for name, test := range map[string]struct {
		platforms    []string
		signed       []string // "index" or a platform
		allPlatforms bool
		counts       bool
		missing      string
	}{
		"signed only on one platform":                     {platforms: []string{amd64, arm64}, signed: []string{amd64}},
		"signed as a whole":                               {platforms: []string{amd64, arm64}, signed: []string{"index"}, counts: true},
		"of Windows only, signed as a whole":              {platforms: []string{"windows"}, signed: []string{"index"}, counts: true},
		"of Windows only, all platforms":                  {platforms: []string{"windows"}, signed: []string{"index", "windows"}, allPlatforms: true, counts: true},
		"all platforms, all signed":                       {platforms: []string{amd64, arm64, build}, signed: []string{"index", amd64, arm64}, allPlatforms: true, counts: true},
		"all platforms, one not signed":                   {platforms: []string{amd64, arm64}, signed: []string{"index", amd64}, allPlatforms: true, missing: arm64},
		"all platforms, the index not signed":             {platforms: []string{amd64}, signed: []string{amd64}, allPlatforms: true},
		"all platforms, an index in the index not signed": {platforms: []string{arm64, nested}, signed: []string{"index", arm64}, allPlatforms: true, missing: nested},
		"all platforms, an index in the index signed":     {platforms: []string{arm64, nested}, signed: []string{"index", arm64, nested}, allPlatforms: true, counts: true},
	} {
		for _, format := range formats {
			t.Run(name+" "+format, func(t *testing.T) {
				b, f := newBench(t), form{format: format, key: true}
				digest := index(b.store, test.platforms...)
				digests["index"] = digest
				for _, signed := range test.signed {
					f.attach(t, b.pki, b.by, b.store, digests[signed])
				}
				authority := f.authority(b.by)
				authority.AllPlatforms = test.allPlatforms
				evidence := b.verify(digest, authority)
				if (len(evidence.Signatures) == 1) != test.counts {
					t.Errorf("got %+v, want that it counts %t", evidence, test.counts)
				}
				if test.missing != "" {
					wantRejected(t, evidence, "has not signed "+digests[test.missing])
				}
			})
		}
	}
}

func FuzzReadAttached(f *testing.F) {
	pki, err := signertest.New()
	if err != nil {
		f.Fatal(err)
	}
	by, err := signertest.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	statement, _ := signertest.SignatureStatement(realDigest, nil)
	bundle, _ := pki.SignStatementWithKey(by, statement, signertest.Logged())
	keylessBundle, _ := pki.SignStatement(releaseWorkflow, statement)
	legacy, _ := pki.SignLegacyStatement(releaseWorkflow, statement)
	for _, seed := range [][]byte{bundle, keylessBundle, legacy.Content, []byte(`{}`), []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{}}`)} {
		f.Add(seed, `{"Payload":{"body":123}}`)
	}
	roots, err := cosign.ParseRoots(pki.TrustedRoot())
	if err != nil {
		f.Fatal(err)
	}
	trust, err := signer.Compile(&signer.Trust{Authorities: []signer.Authority{keyless("nobody", "https://nobody.example.com", "nobody@example.com")}})
	if err != nil {
		f.Fatal(err)
	}
	v := cosign.NewVerifier(cosign.Options{Roots: roots})
	f.Fuzz(func(t *testing.T, content []byte, entry string) {
		attestations, rejections := v.VerifyEnvelope(context.Background(), content, realDigest, app, trust)
		if len(attestations) != 0 || len(rejections) == 0 {
			t.Errorf("got %+v and %+v, want nothing but rejections", attestations, rejections)
		}
		store := newMemory()
		attachLegacy(t, store, realDigest, ".att", signertest.Legacy{MediaType: signertest.EnvelopeMediaType, Content: content, Annotations: map[string]string{
			signertest.LogAnnotation: entry, signertest.CertificateAnnotation: legacy.Annotations[signertest.CertificateAnnotation],
		}})
		if evidence := verify(t, v, store, realDigest, trust); counted(evidence) != 0 || len(evidence.Rejected) != 1 {
			t.Errorf("got %+v, want one rejection", evidence)
		}
		if text, err := json.Marshal(rejections); err != nil || len(text) > 64<<10 {
			t.Errorf("got %d bytes of reasons (%v)", len(text), err)
		}
	})
}

// TestIntermediateThatEndedBeforeSigning is CVE-2026-24122 to the letter: the issuer was valid when it issued
// the certificate, and no longer when that signed. cosign v2 looks at the former only.
func TestIntermediateThatEndedBeforeSigning(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	pki, err := signertest.NewAt(func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	roots, err := cosign.ParseRoots(pki.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range forms() {
		if f.key {
			continue
		}
		for name, test := range map[string]struct {
			signed time.Duration // before now; the intermediate ended an hour before
			counts bool
		}{
			"a minute before its end": {61 * time.Minute, true},
			"a minute after its end":  {59 * time.Minute, false},
		} {
			t.Run(f.name+" "+name, func(t *testing.T) {
				store := newMemory()
				f.attach(t, pki, nil, store, realDigest, signertest.ExpiredIntermediate, signertest.At(now.Add(-test.signed)), signertest.IssuedBefore(5*time.Minute))
				evidence := verify(t, cosign.NewVerifier(cosign.Options{Roots: roots}), store, realDigest, compile(t, f.authority(nil)))
				if (counted(evidence) == 1) != test.counts {
					t.Errorf("got %+v, want that it counts %t", evidence, test.counts)
				}
			})
		}
	}
}

func TestOtherPayloadsOfLegacySignatures(t *testing.T) {
	b := newBench(t)
	good := must[[]byte](t)(signertest.SimpleSigning(app.String(), realDigest, nil))
	for name, test := range map[string]struct {
		payload []byte
		want    string
	}{
		"another type": {bytes.Replace(good, []byte("cosign container image signature"), []byte("atomic container signature"), 1), "its payload has the type"},
		"no JSON":      {good[:20], "its payload cannot be read"},
		"a list":       {[]byte("[]"), "its payload cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			b.store = newMemory()
			attachLegacy(t, b.store, realDigest, ".sig", must[signertest.Legacy](t)(b.pki.SignPayloadWithKey(b.by, test.payload)))
			wantRejected(t, b.verify(realDigest, b.byKey()), test.want)
		})
	}
}

// TestTimeIsTheEarliest: stamping a signature again must not make it younger.
func TestTimeIsTheEarliest(t *testing.T) {
	b := newBench(t)
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			signed := time.Now().Add(-48 * time.Hour).Truncate(time.Second).UTC()
			b.store = newMemory()
			f.attach(t, b.pki, b.by, b.store, realDigest, signertest.Logged(), signertest.Stamped(), signertest.At(signed))
			evidence := b.verify(realDigest, f.authority(b.by))
			if counted(evidence) != 1 {
				t.Fatalf("got %+v, want one that counts", evidence)
			}
			var got string
			for _, s := range evidence.Signatures {
				got = s.Time
			}
			for _, a := range evidence.Attestations {
				got = a.Time
			}
			if want := signed.Format(time.RFC3339); got != want {
				t.Errorf("got time %s, want %s", got, want)
			}
		})
	}
}
