package oci_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// trust is a verification by one key, for all that a registry has below acme.
func trust(t testing.TB, host string, key *cosign.Key) v1alpha1.Verification {
	t.Helper()
	return v1alpha1.Verification{Authorities: []signer.Authority{cosigntest.Authority(t, "release", host+"/acme/**", key)}}
}

// rig is a registry with a client and a repository.
type rig struct {
	*testing.T
	server     *registrytest.Server
	client     *registry.Client
	repository registry.Repository
}

func newRig(t *testing.T, shape registrytest.Shape) *rig {
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
	return &rig{T: t, server: server, client: client, repository: server.Repository("acme/policies")}
}

func (r *rig) push(tag string, tree *archive.Tree) string {
	r.Helper()
	digest, err := oci.Push(r.Context(), r.client, r.repository, tag, tree)
	if err != nil {
		r.Fatal(err)
	}
	return digest
}

func (r *rig) sign(digest string, key *cosign.Key, format string) {
	r.Helper()
	target := cosign.Target{Repository: r.repository, Digest: digest}
	if _, err := cosign.Sign(r.Context(), r.client, target, key, cosign.SignOptions{Format: format}); err != nil {
		r.Fatal(err)
	}
}

// source reads a tag of the repository.
func (r *rig) source(tag string) *oci.Source {
	r.Helper()
	made, err := oci.New(v1alpha1.OCISource{Repository: r.repository.String(), Tag: tag}, oci.Options{Registry: r.server.Options()})
	if err != nil {
		r.Fatal(err)
	}
	return made
}

func (r *rig) fetch(tag string) *source.Revision {
	r.Helper()
	revision, err := r.source(tag).Fetch(r.Context(), "")
	if err != nil {
		r.Fatal(err)
	}
	return revision
}

// raw pushes a manifest as it is, with its blobs, and gives its digest.
func (r *rig) raw(tag string, manifest map[string]any, blobs ...[]byte) string {
	r.Helper()
	for _, blob := range append(blobs, []byte("{}")) {
		if _, err := r.client.PushBlob(r.Context(), r.repository, blob); err != nil {
			r.Fatal(err)
		}
	}
	written, err := json.Marshal(manifest)
	if err != nil {
		r.Fatal(err)
	}
	mediaType, _ := manifest["mediaType"].(string)
	if mediaType == "" {
		mediaType = source.ManifestMediaType
	}
	pushed, err := r.client.PushManifest(r.Context(), r.repository, tag, mediaType, written)
	if err != nil {
		r.Fatal(err)
	}
	return pushed.Digest
}

// manifest has layers of a media type each, with titles.
func manifest(layers ...map[string]any) map[string]any {
	return map[string]any{
		"schemaVersion": 2, "mediaType": source.ManifestMediaType,
		"config": layer("application/vnd.oci.empty.v1+json", []byte("{}"), ""), "layers": layers,
	}
}

func layer(mediaType string, content []byte, title string) map[string]any {
	l := map[string]any{"mediaType": mediaType, "digest": registry.DigestOf(content), "size": len(content)}
	if title != "" {
		l["annotations"] = map[string]string{"org.opencontainers.image.title": title}
	}
	return l
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with %q", err, want)
	}
}
