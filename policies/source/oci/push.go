package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"sigs.k8s.io/yaml"
)

// Annotations of the manifest. They say what the artifact is, and nobody believes them: the files say it, too.
const (
	// AnnotationName is the bundle's name (OCI image specification, "Pre-Defined Annotation Keys").
	AnnotationName = "org.opencontainers.image.title"
	// AnnotationSerial is the bundle's serial.
	AnnotationSerial = "dev.portcullis.bundle.serial"
	// AnnotationDigest is the digest of the files, which a repository or a directory with the same files has, too.
	AnnotationDigest = "dev.portcullis.bundle.digest"
)

// emptyConfig is the configuration of an artifact that has none (OCI image specification, "Guidance for an Empty Descriptor").
const (
	emptyConfig          = "{}"
	emptyConfigMediaType = "application/vnd.oci.empty.v1+json"
)

// Destination is where artifacts are put: a [registry.Client] or a [LayoutWriter].
type Destination interface {
	PushBlob(ctx context.Context, repository registry.Repository, content []byte) (registry.Descriptor, error)
	PushManifest(ctx context.Context, repository registry.Repository, reference, mediaType string, raw []byte) (registry.Descriptor, error)
}

// Artifact is a bundle ready to be pushed.
type Artifact struct {
	// Manifest is the manifest, and Digest its digest.
	Manifest []byte
	Digest   string
	// Layer is the only one.
	Layer []byte
}

// descriptor has the fields of a descriptor, in the order of the specification.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

// NewArtifact packs a tree. The same tree gives the same digest: there is no time in it.
func NewArtifact(tree *archive.Tree) (*Artifact, error) {
	name, serial, err := identify(tree)
	if err != nil {
		return nil, fmt.Errorf("packing the bundle: %w", err)
	}
	var layer bytes.Buffer
	if err := tree.Pack(&layer); err != nil {
		return nil, err
	}
	if layer.Len() > source.MaxEncoded {
		return nil, fmt.Errorf("packing the bundle: it has %d bytes packed, and the limit is %d: leave out what is no policy, or make two bundles of it", layer.Len(), source.MaxEncoded)
	}
	manifest, err := json.Marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		ArtifactType  string            `json:"artifactType"`
		Config        descriptor        `json:"config"`
		Layers        []descriptor      `json:"layers"`
		Annotations   map[string]string `json:"annotations"`
	}{
		SchemaVersion: 2,
		MediaType:     source.ManifestMediaType,
		ArtifactType:  source.ArtifactType,
		Config:        descriptor{emptyConfigMediaType, registry.DigestOf([]byte(emptyConfig)), len(emptyConfig)},
		Layers:        []descriptor{{source.LayerMediaType, registry.DigestOf(layer.Bytes()), layer.Len()}},
		Annotations:   map[string]string{AnnotationName: name, AnnotationSerial: strconv.FormatInt(serial, 10), AnnotationDigest: tree.Digest()},
	})
	if err != nil {
		return nil, fmt.Errorf("packing the bundle: %w", err)
	}
	return &Artifact{Manifest: manifest, Digest: registry.DigestOf(manifest), Layer: layer.Bytes()}, nil
}

// identify reads name and serial from bundle.yaml.
func identify(tree *archive.Tree) (name string, serial int64, err error) {
	content, ok := tree.Content("bundle.yaml")
	if !ok {
		return "", 0, errors.New("bundle.yaml is missing: name the folder that has it")
	}
	var manifest struct {
		Name   string `json:"name"`
		Serial int64  `json:"serial"`
	}
	if err := yaml.Unmarshal(content, &manifest); err != nil {
		return "", 0, fmt.Errorf("bundle.yaml: %w: correct it", err)
	}
	if manifest.Name == "" {
		return "", 0, errors.New("bundle.yaml has no name: give it one")
	}
	return manifest.Name, manifest.Serial, nil
}

// Push packs a tree and puts it into a repository under a tag, or under its digest alone where the tag is "". It gives the
// digest of the manifest, which is what to sign and to pin.
func Push(ctx context.Context, to Destination, repository registry.Repository, tag string, tree *archive.Tree) (string, error) {
	artifact, err := NewArtifact(tree)
	if err != nil {
		return "", err
	}
	for _, blob := range [][]byte{[]byte(emptyConfig), artifact.Layer} {
		if _, err := to.PushBlob(ctx, repository, blob); err != nil {
			return "", err
		}
	}
	if tag == "" {
		tag = artifact.Digest
	}
	if _, err := to.PushManifest(ctx, repository, tag, source.ManifestMediaType, artifact.Manifest); err != nil {
		return "", err
	}
	return artifact.Digest, nil
}
