package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/sourcetest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/signertest"
)

// outcome is what a verification came to.
type outcome struct {
	signers []string
	cause   source.Cause // "" where it is accepted
	want    string       // in the message
}

func check(t *testing.T, v *source.Verifier, r *source.Revision, verification v1alpha1.Verification, want outcome) {
	t.Helper()
	signers, err := v.Verify(t.Context(), r, verification)
	if want.cause == "" {
		if err != nil || !slices.Equal(signers, want.signers) {
			t.Errorf("got %q, %v, want %q", signers, err, want.signers)
		}
		return
	}
	var refused *source.VerificationError
	if !errors.As(err, &refused) {
		t.Fatalf("got %q, %v, want a VerificationError", signers, err)
	}
	if refused.Cause != want.cause || !strings.Contains(err.Error(), want.want) || len(signers) > 0 {
		t.Errorf("got signers %q, cause %q: %v\nwant cause %q with %q", signers, refused.Cause, err, want.cause, want.want)
	}
	if !strings.HasPrefix(err.Error(), "verifying "+r.Origin+": ") {
		t.Errorf("got %v, want its origin %s in front", err, r.Origin)
	}
}

func TestArtifactsAreVerified(t *testing.T) {
	release, other := cosigntest.NewKey(t), cosigntest.NewKey(t)
	pki, roots := newPKI(t)
	signedByJane := func(target cosign.Target) []byte {
		statement, err := signertest.SignatureStatement(target.Digest, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := pki.SignStatement(jane, statement)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	demanding := cosigntest.Authority(t, "release", everywhere, release)
	demanding.Annotations = map[string]string{"channel": "stable"}
	platforms := cosigntest.Authority(t, "release", everywhere, release)
	platforms.AllPlatforms = true
	logged := cosigntest.Authority(t, "release", everywhere, release)
	logged.TransparencyLog = true
	attested := cosigntest.Authority(t, "release", everywhere, release)
	attested.Attestations = []signer.AttestationRequirement{{PredicateType: "https://spdx.dev/Document"}}
	byRelease := by(cosigntest.Authority(t, "release", everywhere, release))
	unsigned := v1alpha1.Verification{InsecureUnsigned: true}
	releaseSigns := func(s *shop, target cosign.Target) { s.sign(target, release, nil) }
	nobodySigns := func(*shop, cosign.Target) {}
	signers := []string{"release (key " + release.Fingerprint() + ")"}
	tampered := func(spoil func(r *source.Revision)) func(*source.Revision) { return spoil }

	for name, c := range map[string]struct {
		sign         func(*shop, cosign.Target)
		verification v1alpha1.Verification
		spoil        func(*source.Revision)
		roots        *cosign.Roots
		want         outcome
	}{
		"signed by the authority":               {releaseSigns, byRelease, nil, nil, outcome{signers: signers}},
		"signed by the second of two":           {releaseSigns, by(cosigntest.Authority(t, "a", everywhere, other), cosigntest.Authority(t, "release", everywhere, release)), nil, nil, outcome{signers: signers}},
		"signed by another as well":             {func(s *shop, at cosign.Target) { s.sign(at, other, nil); s.sign(at, release, nil) }, byRelease, nil, nil, outcome{signers: signers}},
		"signed with the annotations demanded":  {func(s *shop, at cosign.Target) { s.sign(at, release, demanding.Annotations) }, by(demanding), nil, nil, outcome{signers: signers}},
		"signed, all platforms wanted":          {releaseSigns, by(platforms), nil, nil, outcome{signers: signers}},
		"signed by certificate":                 {func(s *shop, at cosign.Target) { s.attach(at, signedByJane(at)) }, by(byJane()), nil, roots, outcome{signers: []string{"jane (jane@acme.com, issuer https://accounts.google.com)"}}},
		"signed by nobody, which is allowed":    {nobodySigns, unsigned, nil, nil, outcome{}},
		"signed by another, which is allowed":   {func(s *shop, at cosign.Target) { s.sign(at, other, nil) }, v1alpha1.Verification{InsecureUnsigned: true, Authorities: byRelease.Authorities}, nil, nil, outcome{}},
		"signed, where nobody need have signed": {releaseSigns, v1alpha1.Verification{InsecureUnsigned: true, Authorities: byRelease.Authorities}, nil, nil, outcome{signers: signers}},

		"signed by nobody":                 {nobodySigns, byRelease, nil, nil, outcome{cause: source.Unsigned, want: "nobody has signed it: sign it with portcullis image sign"}},
		"attested and not signed":          {func(s *shop, at cosign.Target) { s.attest(at, release) }, byRelease, nil, nil, outcome{cause: source.Unsigned, want: "it has attestations and no signature"}},
		"signed by another":                {func(s *shop, at cosign.Target) { s.sign(at, other, nil) }, byRelease, nil, nil, outcome{cause: source.Untrusted, want: "not signed by the one trusted key"}},
		"signed without the annotations":   {releaseSigns, by(demanding), nil, nil, outcome{cause: source.Untrusted, want: "does not cover the annotation channel=stable"}},
		"signed without the log":           {releaseSigns, by(logged), nil, roots, outcome{cause: source.Untrusted, want: "which demands an entry of a transparency log"}},
		"signed by certificate of another": {func(s *shop, at cosign.Target) { s.attach(at, signedByJane(at)) }, by(signer.Authority{Name: "joe", Images: []string{everywhere}, Identities: []signer.Identity{{Issuer: jane.Issuer, Subject: "joe@acme.com"}}}), nil, roots, outcome{cause: source.Untrusted, want: "signed by jane@acme.com"}},
		"signed by certificate, no root":   {func(s *shop, at cosign.Target) { s.attach(at, signedByJane(at)) }, by(byJane()), nil, nil, outcome{cause: source.Undecided, want: "there is no trusted root: configure a trusted_root.json"}},
		"a signature of something else": {func(s *shop, at cosign.Target) {
			s.attach(at, signedByJane(cosign.Target{Digest: "sha256:" + strings.Repeat("ab", 32)}))
		}, by(byJane()), nil, roots, outcome{cause: source.Mismatched, want: "it is about another image, sha256:abab"}},
		"something that is no signature":     {func(s *shop, at cosign.Target) { s.attach(at, []byte("{}")) }, byRelease, nil, nil, outcome{cause: source.Untrusted, want: "it is no Sigstore bundle"}},
		"an authority of another repository": {releaseSigns, by(cosigntest.Authority(t, "release", "ghcr.io/acme/**", release)), nil, nil, outcome{cause: source.Misconfigured, want: "no authority may sign in 127.0.0.1:"}},
		"nobody trusted":                     {releaseSigns, v1alpha1.Verification{}, nil, nil, outcome{cause: source.Misconfigured, want: "names no authorities"}},
		"somebody trusted who signs commits": {releaseSigns, v1alpha1.Verification{AllowedSigners: "a ssh-ed25519 AAAA", PGPKeys: "x"}, nil, nil, outcome{cause: source.Misconfigured, want: "names no authorities"}},
		"an authority without a key":         {releaseSigns, by(signer.Authority{Name: "a", Images: []string{everywhere}}), nil, nil, outcome{cause: source.Misconfigured, want: "neither keys nor identities"}},
		"an authority that nothing demands":  {releaseSigns, by(attested), nil, nil, outcome{cause: source.Misconfigured, want: "nothing would demand them"}},

		"other files": {releaseSigns, byRelease, tampered(func(r *source.Revision) { r.Tree = sourcetest.NewTree(t, 8) }), nil,
			outcome{cause: source.Mismatched, want: "its files have the digest"}},
		"other files, which nobody need have signed": {releaseSigns, unsigned, tampered(func(r *source.Revision) { r.Tree = sourcetest.NewTree(t, 8) }), nil,
			outcome{cause: source.Mismatched, want: "its files have the digest"}},
		"another layer with its files": {releaseSigns, byRelease, tampered(func(r *source.Revision) {
			r.Tree = sourcetest.NewTree(t, 8)
			r.Proof.OCI.Layer = sourcetest.Pack(t, r.Tree)
		}), nil, outcome{cause: source.Mismatched, want: "its layer has the digest"}},
		"another manifest with its layer": {releaseSigns, byRelease, tampered(func(r *source.Revision) {
			s := newShop(t)
			swapped := s.fetch(s.push(sourcetest.NewTree(t, 8)))
			swapped.Proof.OCI.Attached = r.Proof.OCI.Attached
			swapped.Proof.OCI.Registry, swapped.Proof.OCI.Repository = r.Proof.OCI.Registry, r.Proof.OCI.Repository
			*r = *swapped
		}), nil, outcome{cause: source.Mismatched, want: "it is about another image"}},
		"another manifest, whose signature is listed for it": {releaseSigns, byRelease, tampered(func(r *source.Revision) {
			r.Proof.OCI.Manifest = append(r.Proof.OCI.Manifest, ' ')
		}), nil, outcome{cause: source.Mismatched, want: "it is about another image"}},
		"a manifest that is none": {releaseSigns, byRelease, tampered(func(r *source.Revision) { r.Proof.OCI.Manifest = []byte("x") }), nil,
			outcome{cause: source.Mismatched, want: "the manifest is not JSON"}},
		"no proof": {releaseSigns, byRelease, tampered(func(r *source.Revision) { r.Proof = source.Proof{} }), nil,
			outcome{cause: source.Unsigned, want: "nothing in it can be signed: keep it in Git, in a registry or as a signed tarball"}},
		"no files": {releaseSigns, byRelease, tampered(func(r *source.Revision) { r.Tree = nil }), nil,
			outcome{cause: source.Mismatched, want: "it has no files"}},
		"two proofs": {releaseSigns, byRelease, tampered(func(r *source.Revision) {
			r.Proof.Blob = &source.BlobProof{Tarball: r.Proof.OCI.Layer}
		}), nil, outcome{cause: source.Mismatched, want: "2 proofs of different kinds"}},
		"two proofs, which nobody need have signed": {nobodySigns, unsigned, tampered(func(r *source.Revision) {
			r.Proof.Blob = &source.BlobProof{Tarball: r.Proof.OCI.Layer}
		}), nil, outcome{cause: source.Mismatched, want: "2 proofs of different kinds"}},
		"signatures taken away": {releaseSigns, byRelease, tampered(func(r *source.Revision) { r.Proof.OCI.Attached = source.Attached{} }), nil,
			outcome{cause: source.Unsigned, want: "nobody has signed it"}},
		"signatures changed": {releaseSigns, byRelease, tampered(func(r *source.Revision) {
			for i, content := range r.Proof.OCI.Attached.Contents {
				r.Proof.OCI.Attached.Contents[i] = bytes.ReplaceAll(content, []byte("dsse"), []byte("DSSE"))
			}
		}), nil, outcome{cause: source.Untrusted, want: "is listed as attached, but cannot be read"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			target := s.push(sourcetest.NewTree(t, 7))
			c.sign(s, target)
			revision := s.fetch(target)
			if c.spoil != nil {
				c.spoil(revision)
			}
			check(t, source.NewVerifier(source.VerifierOptions{Roots: c.roots}), revision, c.verification, c.want)
		})
	}
}

// Conftest makes a layer of each file: the files are what was received.
func TestFilesThatAreLayersAreVerified(t *testing.T) {
	tree := sourcetest.NewTree(t, 7)
	manifest := func(names ...string) []byte {
		var layers []string
		for _, name := range names {
			content, _ := tree.Content(name)
			layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.cncf.openpolicyagent.data.layer.v1+json","digest":%q,"annotations":{"org.opencontainers.image.title":%q}}`, registry.DigestOf(content), name))
		}
		return []byte(`{"schemaVersion":2,"layers":[` + strings.Join(layers, ",") + `]}`)
	}
	whole := manifest("bundle.yaml", "pods/policy.rego")
	for name, c := range map[string]struct {
		tree  *archive.Tree
		proof source.OCIProof
		want  string // "" for none
	}{
		"its files":       {tree, source.OCIProof{Manifest: whole}, ""},
		"another content": {sourcetest.NewTree(t, 8), source.OCIProof{Manifest: whole}, "bundle.yaml has the digest"},
		"a file more":     {tree, source.OCIProof{Manifest: manifest("bundle.yaml")}, "pods/policy.rego has the digest"},
		"a file fewer":    {tree, source.OCIProof{Manifest: manifest("bundle.yaml", "pods/policy.rego", "more")}, "it has 2 files, and the manifest names 3"},
		"an archive":      {tree, source.OCIProof{Manifest: whole, Layer: sourcetest.Pack(t, tree)}, "it was stored with an archive"},
	} {
		t.Run(name, func(t *testing.T) {
			want := outcome{}
			if c.want != "" {
				want = outcome{cause: source.Mismatched, want: c.want}
			}
			revision := &source.Revision{Tree: c.tree, Origin: "oci://ghcr.io/acme/policies", Proof: source.Proof{OCI: &c.proof}}
			check(t, source.NewVerifier(source.VerifierOptions{}), revision, v1alpha1.Verification{InsecureUnsigned: true}, want)
		})
	}
}

// A signature says nothing of the repository, so the authority does: what is copied to another one is not signed there.
func TestAnAuthoritySignsInItsRepositoriesOnly(t *testing.T) {
	s, key := newShop(t), cosigntest.NewKey(t)
	target := s.push(sourcetest.NewTree(t, 7))
	s.sign(target, key, nil)
	revision := s.fetch(target)
	verification := by(cosigntest.Authority(t, "release", s.repository.Registry+"/acme/**", key))
	verifier := source.NewVerifier(source.VerifierOptions{})
	check(t, verifier, revision, verification, outcome{signers: []string{"release (key " + key.Fingerprint() + ")"}})
	revision.Proof.OCI.Repository = "evil/policies"
	check(t, verifier, revision, verification, outcome{cause: source.Misconfigured, want: "add the repository to the images of the one that signs it"})
}

func TestTarballsAreVerified(t *testing.T) {
	release, other := cosigntest.NewKey(t), cosigntest.NewKey(t)
	_, roots := newPKI(t)
	tree := sourcetest.NewTree(t, 7)
	tarball := sourcetest.Pack(t, tree)
	signed := func(content []byte, key *cosign.Key) []byte {
		bundle, err := cosign.SignBlob(content, key)
		if err != nil {
			t.Fatal(err)
		}
		return bundle
	}
	attested := func() []byte {
		target := cosign.Target{Digest: registry.DigestOf(tarball)}
		statement, err := cosign.NewStatement(target, "https://spdx.dev/Document", []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := cosign.SignStatement(target, release, statement, signer.FormatBundle)
		if err != nil {
			t.Fatal(err)
		}
		return bundle
	}()
	byRelease := by(cosigntest.Authority(t, "release", "ghcr.io/acme/**", release))
	annotated := cosigntest.Authority(t, "release", everywhere, release)
	annotated.Annotations = map[string]string{"a": "b"}
	signers := []string{"release (key " + release.Fingerprint() + ")"}
	for name, c := range map[string]struct {
		proof        source.BlobProof
		verification v1alpha1.Verification
		want         outcome
	}{
		"signed by the authority":            {source.BlobProof{Tarball: tarball, Bundle: signed(tarball, release)}, byRelease, outcome{signers: signers}},
		"signed by nobody, which is allowed": {source.BlobProof{Tarball: tarball}, v1alpha1.Verification{InsecureUnsigned: true}, outcome{}},

		"signed by nobody":                {source.BlobProof{Tarball: tarball}, byRelease, outcome{cause: source.Unsigned, want: "sign the tarball with cosign sign-blob --bundle, and serve the bundle at its signatureURL"}},
		"an empty signature":              {source.BlobProof{Tarball: tarball, Bundle: []byte(" \n")}, byRelease, outcome{cause: source.Unsigned, want: "nobody has signed it"}},
		"signed by another":               {source.BlobProof{Tarball: tarball, Bundle: signed(tarball, other)}, byRelease, outcome{cause: source.Untrusted, want: "not signed by the one trusted key"}},
		"signed by key, and jane trusted": {source.BlobProof{Tarball: tarball, Bundle: signed(tarball, other)}, by(byJane()), outcome{cause: source.Untrusted, want: "signed by a key"}},
		"a signature of another tarball":  {source.BlobProof{Tarball: tarball, Bundle: signed(sourcetest.Pack(t, sourcetest.NewTree(t, 8)), release)}, byRelease, outcome{cause: source.Mismatched, want: "it is about another file, sha256:"}},
		"an attestation":                  {source.BlobProof{Tarball: tarball, Bundle: attested}, byRelease, outcome{cause: source.Unsigned, want: "it is an attestation, and a signature of the file is wanted"}},
		"no Sigstore bundle":              {source.BlobProof{Tarball: tarball, Bundle: []byte("MEUCIQ==")}, byRelease, outcome{cause: source.Untrusted, want: "it is no Sigstore bundle"}},
		"another tarball":                 {source.BlobProof{Tarball: sourcetest.Pack(t, sourcetest.NewTree(t, 8)), Bundle: signed(sourcetest.Pack(t, sourcetest.NewTree(t, 8)), release)}, byRelease, outcome{cause: source.Mismatched, want: "its files have the digest"}},
		"no tarball":                      {source.BlobProof{Bundle: signed(nil, release)}, byRelease, outcome{cause: source.Mismatched, want: "cut short"}},
		"nobody trusted":                  {source.BlobProof{Tarball: tarball, Bundle: signed(tarball, release)}, v1alpha1.Verification{}, outcome{cause: source.Misconfigured, want: "names no authorities"}},
		"annotations demanded":            {source.BlobProof{Tarball: tarball, Bundle: signed(tarball, release)}, by(annotated), outcome{cause: source.Misconfigured, want: "every authority demands annotations"}},
	} {
		t.Run(name, func(t *testing.T) {
			revision := &source.Revision{Tree: tree, Origin: "https://example.com/bundle.tar.gz", Proof: source.Proof{Blob: &c.proof}}
			check(t, source.NewVerifier(source.VerifierOptions{Roots: roots}), revision, c.verification, c.want)
		})
	}
}

func TestDirectoriesAreNeverSigned(t *testing.T) {
	revision := &source.Revision{Tree: sourcetest.NewTree(t, 7), Origin: "/etc/portcullis/bundle"}
	var verifier source.Verifier
	check(t, &verifier, revision, by(cosigntest.Authority(t, "release", everywhere, cosigntest.NewKey(t))), outcome{cause: source.Unsigned, want: "or set insecureUnsigned"})
	check(t, &verifier, revision, v1alpha1.Verification{InsecureUnsigned: true}, outcome{})
}

func TestAVerificationThatWasInterruptedTrustsNothing(t *testing.T) {
	s, key := newShop(t), cosigntest.NewKey(t)
	target := s.push(sourcetest.NewTree(t, 7))
	s.sign(target, key, nil)
	revision := s.fetch(target)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	verification := by(cosigntest.Authority(t, "release", everywhere, key))
	verification.InsecureUnsigned = true
	if signers, err := source.NewVerifier(source.VerifierOptions{}).Verify(ctx, revision, verification); !errors.Is(err, context.Canceled) {
		t.Errorf("got %q, %v, want that it was interrupted", signers, err)
	}
}

func BenchmarkVerifyArtifact(b *testing.B) {
	s, key := newShop(b), cosigntest.NewKey(b)
	target := s.push(sourcetest.NewTree(b, 7))
	s.sign(target, key, nil)
	revision, verification := s.fetch(target), by(cosigntest.Authority(b, "release", everywhere, key))
	verifier := source.NewVerifier(source.VerifierOptions{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verifier.Verify(b.Context(), revision, verification); err != nil {
			b.Fatal(err)
		}
	}
}
