package signertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// emptyMediaType is that of the empty descriptor (OCI image specification, "Guidance for an
// empty descriptor").
const emptyMediaType = types.MediaType("application/vnd.oci.empty.v1+json")

// Annotations of the manifest that holds a bundle.
const (
	createdAnnotation       = "org.opencontainers.image.created"
	contentAnnotation       = "dev.sigstore.bundle.content"
	predicateTypeAnnotation = "dev.sigstore.bundle.predicateType"
)

// AttachBundle pushes a bundle as a referrer of an image (which has to be there), as cosign version 3
// does, and gives the digest of the manifest. In a registry without the referrers API the
// index under the fallback tag calls it by the type of its empty config, as cosign version 3.0 has
// it; whoever filters by type finds nothing there. predicateType is what the annotation says.
func AttachBundle(ctx context.Context, image name.Digest, bundle []byte, predicateType string, options ...remote.Option) (string, error) {
	return AttachReferrer(ctx, image, Referrer{
		ArtifactType: BundleMediaType, MediaType: BundleMediaType, Content: bundle,
		Annotations: map[string]string{
			createdAnnotation: time.Unix(0, 0).UTC().Format(time.RFC3339), contentAnnotation: "dsse-envelope", predicateTypeAnnotation: predicateType,
		},
	}, options...)
}

// Referrer is a manifest with one layer and an empty config.
type Referrer struct {
	ArtifactType string
	MediaType    string // of the layer
	Content      []byte
	Annotations  map[string]string
}

// AttachReferrer pushes anything as a referrer of an image, in the way of [AttachBundle], and gives
// the digest of the manifest.
func AttachReferrer(ctx context.Context, image name.Digest, referrer Referrer, options ...remote.Option) (string, error) {
	options = append(options, remote.WithContext(ctx))
	subject, err := remote.Head(image, options...)
	if err != nil {
		return "", fmt.Errorf("looking up %s: %w", image, err)
	}
	manifest := manifest{Manifest: v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Annotations: referrer.Annotations,
		Subject: &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	}, ArtifactType: referrer.ArtifactType}
	if manifest.Config, err = pushBlob(image.Repository, emptyMediaType, []byte("{}"), options); err != nil {
		return "", err
	}
	manifest.Config.ArtifactType = referrer.ArtifactType // cosign names it here, too
	layer, err := pushBlob(image.Repository, types.MediaType(referrer.MediaType), referrer.Content, options)
	if err != nil {
		return "", err
	}
	manifest.Layers = []v1.Descriptor{layer}
	raw, err := manifest.RawManifest()
	if err != nil {
		return "", fmt.Errorf("encoding a manifest: %w", err)
	}
	digest := digestOf(raw)
	if err := remote.Put(image.Digest(digest), manifest, options...); err != nil {
		return "", fmt.Errorf("pushing a referrer of %s: %w", image, err)
	}
	return digest, blurFallback(image, digest, options)
}

type manifest struct {
	v1.Manifest
	ArtifactType string `json:"artifactType,omitempty"`
}

// RawManifest is what is pushed.
func (m manifest) RawManifest() ([]byte, error) { return json.Marshal(m) }

// MediaType is that of the manifest.
func (m manifest) MediaType() (types.MediaType, error) { return m.Manifest.MediaType, nil }

type index struct{ v1.IndexManifest }

// RawManifest is what is pushed.
func (i index) RawManifest() ([]byte, error) { return json.Marshal(i.IndexManifest) }

// MediaType is that of the index.
func (i index) MediaType() (types.MediaType, error) { return i.IndexManifest.MediaType, nil }

// blurFallback writes the type of a referrer into the fallback tag, where there is one
// (OCI distribution specification, "Referrers tag schema").
func blurFallback(image name.Digest, digest string, options []remote.Option) error {
	tag := image.Tag("sha256-" + image.DigestStr()[len("sha256:"):])
	found, err := remote.Get(tag, options...)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the fallback tag of %s: %w", image, err)
	}
	var all v1.IndexManifest
	if err := json.Unmarshal(found.Manifest, &all); err != nil {
		return fmt.Errorf("reading the fallback tag of %s: %w", image, err)
	}
	for i := range all.Manifests {
		if all.Manifests[i].Digest.String() == digest {
			all.Manifests[i].ArtifactType = string(emptyMediaType)
		}
	}
	if err := remote.Put(tag, index{all}, options...); err != nil {
		return fmt.Errorf("writing the fallback tag of %s: %w", image, err)
	}
	return nil
}

func pushBlob(repository name.Repository, mediaType types.MediaType, content []byte, options []remote.Option) (v1.Descriptor, error) {
	layer := static.NewLayer(content, mediaType)
	if err := remote.WriteLayer(repository, layer, options...); err != nil {
		return v1.Descriptor{}, fmt.Errorf("pushing a blob to %s: %w", repository, err)
	}
	hash, err := layer.Digest()
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("hashing a blob: %w", err)
	}
	return v1.Descriptor{MediaType: mediaType, Digest: hash, Size: int64(len(content))}, nil
}

// AttachLegacy adds a signature or an attestation to those of an image, as cosign version 2
// does: under the tag sha256-HEX.sig or sha256-HEX.att, by its media type.
func AttachLegacy(ctx context.Context, image name.Digest, legacy Legacy, options ...remote.Option) error {
	options = append(options, remote.WithContext(ctx))
	suffix := ".att"
	if legacy.MediaType == SimpleSigningMediaType {
		suffix = ".sig"
	}
	tag := image.Tag("sha256-" + image.DigestStr()[len("sha256:"):] + suffix)
	base, err := remote.Image(tag, options...)
	switch {
	case isNotFound(err):
		base = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	case err != nil:
		return fmt.Errorf("reading %s: %w", tag, err)
	}
	appended, err := mutate.Append(base, mutate.Addendum{
		Layer: static.NewLayer(legacy.Content, types.MediaType(legacy.MediaType)), Annotations: legacy.Annotations, MediaType: types.MediaType(legacy.MediaType),
	})
	if err != nil {
		return fmt.Errorf("adding to %s: %w", tag, err)
	}
	if err := remote.Write(tag, appended, options...); err != nil {
		return fmt.Errorf("pushing %s: %w", tag, err)
	}
	return nil
}

func isNotFound(err error) bool {
	var answered *transport.Error
	return errors.As(err, &answered) && answered.StatusCode == http.StatusNotFound
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}
