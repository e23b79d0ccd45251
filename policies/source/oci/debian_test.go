package oci_test

import (
	"errors"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/source/sourcetest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

func TestTheRegistryOfDebianKeepsBundles(t *testing.T) {
	host := registrytest.StartDebian(t)
	options := registry.Options{Allow: []string{host}, PlainHTTP: []string{host}}
	client, err := registry.New(options)
	if err != nil {
		t.Fatal(err)
	}
	repository := registry.Repository{Registry: host, Path: "acme/policies"}
	tagged, err := oci.New(v1alpha1.OCISource{Repository: repository.String(), Tag: "stable"}, oci.Options{Registry: options})
	if err != nil {
		t.Fatal(err)
	}
	verifier, key := source.NewVerifier(source.VerifierOptions{}), cosigntest.NewKey(t)
	last := ""
	for serial, format := range []string{signer.FormatBundle, signer.FormatLegacy} {
		digest, err := oci.Push(t.Context(), client, repository, "stable", sourcetest.NewTree(t, serial))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cosign.Sign(t.Context(), client, cosign.Target{Repository: repository, Digest: digest}, key, cosign.SignOptions{Format: format}); err != nil {
			t.Fatal(err)
		}
		revision, err := tagged.Fetch(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifier.Verify(t.Context(), sourcetest.Stored(t, revision), trust(t, host, key)); err != nil {
			t.Errorf("signed as %s: %v", format, err)
		}
		if revision.Tree.Digest() != sourcetest.NewTree(t, serial).Digest() {
			t.Errorf("got %s, want the files of serial %d", revision.Tree.Digest(), serial)
		}
		last = revision.Version
	}
	if _, err := tagged.Fetch(t.Context(), last); !errors.Is(err, source.ErrUnchanged) {
		t.Errorf("got %v, want ErrUnchanged", err)
	}
}
