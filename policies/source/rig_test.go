package source_test

import (
	"encoding/json"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/source/sourcetest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/signer/signertest"
)

// everywhere is a pattern for all repositories.
const everywhere = "**"

func by(authorities ...signer.Authority) v1alpha1.Verification {
	return v1alpha1.Verification{Authorities: authorities}
}

// jane signs without a key of her own.
var jane = signertest.Identity{Issuer: "https://accounts.google.com", Subject: "jane@acme.com"}

func byJane() signer.Authority {
	return signer.Authority{Name: "jane", Images: []string{everywhere}, Identities: []signer.Identity{{Issuer: jane.Issuer, Subject: jane.Subject}}}
}

func newPKI(t testing.TB) (*signertest.PKI, *cosign.Roots) {
	t.Helper()
	pki, err := signertest.New()
	if err != nil {
		t.Fatal(err)
	}
	roots, err := cosign.ParseRoots(pki.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	return pki, roots
}

// shop is a registry with one repository.
type shop struct {
	testing.TB
	client     *registry.Client
	repository registry.Repository
}

func newShop(t testing.TB) *shop {
	t.Helper()
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	return &shop{TB: t, client: client, repository: server.Repository("acme/policies")}
}

func (s *shop) push(tree *archive.Tree) cosign.Target {
	s.Helper()
	digest, err := oci.Push(s.Context(), s.client, s.repository, "stable", tree)
	if err != nil {
		s.Fatal(err)
	}
	return cosign.Target{Repository: s.repository, Digest: digest}
}

func (s *shop) sign(target cosign.Target, key *cosign.Key, annotations map[string]string) {
	s.Helper()
	if _, err := cosign.Sign(s.Context(), s.client, target, key, cosign.SignOptions{Annotations: annotations}); err != nil {
		s.Fatal(err)
	}
}

func (s *shop) attest(target cosign.Target, key *cosign.Key) {
	s.Helper()
	statement, err := cosign.NewStatement(target, "https://spdx.dev/Document", []byte("{}"))
	if err != nil {
		s.Fatal(err)
	}
	if _, err := cosign.Attest(s.Context(), s.client, target, key, statement, cosign.AttestOptions{}); err != nil {
		s.Fatal(err)
	}
}

// attach puts anything beside an artifact, whatever it is about.
func (s *shop) attach(target cosign.Target, content []byte) {
	s.Helper()
	descriptor := func(mediaType, digest string, size int) map[string]any {
		return map[string]any{"mediaType": mediaType, "digest": digest, "size": size}
	}
	subject, err := s.client.Manifest(s.Context(), s.repository, target.Digest)
	if err != nil {
		s.Fatal(err)
	}
	for _, blob := range [][]byte{content, []byte("{}")} {
		if _, err := s.client.PushBlob(s.Context(), s.repository, blob); err != nil {
			s.Fatal(err)
		}
	}
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": source.ManifestMediaType, "artifactType": signertest.BundleMediaType,
		"config":  descriptor("application/vnd.oci.empty.v1+json", registry.DigestOf([]byte("{}")), 2),
		"layers":  []any{descriptor(signertest.BundleMediaType, registry.DigestOf(content), len(content))},
		"subject": descriptor(subject.MediaType, target.Digest, len(subject.Raw)),
	})
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.client.PushReferrer(s.Context(), s.repository, target.Digest, source.ManifestMediaType, raw); err != nil {
		s.Fatal(err)
	}
}

// fetch reads what is pushed, through what a cluster stores.
func (s *shop) fetch(target cosign.Target) *source.Revision {
	s.Helper()
	made, err := oci.New(v1alpha1.OCISource{Repository: s.repository.String(), Digest: target.Digest}, oci.Options{From: s.client})
	if err != nil {
		s.Fatal(err)
	}
	revision, err := made.Fetch(s.Context(), "")
	if err != nil {
		s.Fatal(err)
	}
	return sourcetest.Stored(s, revision)
}
