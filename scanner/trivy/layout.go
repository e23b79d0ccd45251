//go:build goexperiment.jsonv2

package trivy

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxDocument is the largest manifest or configuration that is read. Registries refuse manifests over 4 MB (OCI
// distribution specification, "Pushing Manifests"); configurations with long histories stay below 1 MB.
const maxDocument = 8 << 20

// OpenLayout is the image of a digest in the directory of an OCI image layout (OCI image specification, "Image
// Layout"). Only the blobs are used, not index.json. [Analyse] checks them against their digests.
func OpenLayout(directory, digest string) (v1.Image, error) {
	hash, err := v1.NewHash(digest)
	if err != nil {
		return nil, fmt.Errorf("opening an image of the layout %s: %w", directory, err)
	}
	core := &layout{directory: directory}
	if core.manifest, err = core.read(hash); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	if core.parsed, err = v1.ParseManifest(bytes.NewReader(core.manifest)); err != nil {
		return nil, fmt.Errorf("reading the manifest %s: %w", digest, err)
	}
	return partial.CompressedToImage(core)
}

// layout is an image whose blobs are files.
type layout struct {
	directory string
	manifest  []byte
	parsed    *v1.Manifest
}

func (l *layout) path(hash v1.Hash) string {
	return filepath.Join(l.directory, "blobs", hash.Algorithm, hash.Hex)
}

func (l *layout) read(hash v1.Hash) ([]byte, error) {
	f, err := os.Open(l.path(hash))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(content) > maxDocument {
		err = fmt.Errorf("%s is larger than %d bytes", hash, maxDocument)
	}
	return content, err
}

// RawConfigFile is the configuration.
func (l *layout) RawConfigFile() ([]byte, error) { return l.read(l.parsed.Config.Digest) }

// MediaType is that of the manifest.
func (l *layout) MediaType() (types.MediaType, error) { return l.parsed.MediaType, nil }

// RawManifest is the manifest.
func (l *layout) RawManifest() ([]byte, error) { return l.manifest, nil }

// LayerByDigest is a layer that the manifest names.
func (l *layout) LayerByDigest(hash v1.Hash) (partial.CompressedLayer, error) {
	for _, descriptor := range l.parsed.Layers {
		if descriptor.Digest == hash {
			return &blob{path: l.path(hash), descriptor: descriptor}, nil
		}
	}
	return nil, fmt.Errorf("the manifest names no layer %s", hash)
}

// blob is a packed layer in a file.
type blob struct {
	path       string
	descriptor v1.Descriptor
}

// Digest is as the manifest says.
func (b *blob) Digest() (v1.Hash, error) { return b.descriptor.Digest, nil }

// Compressed is the file.
func (b *blob) Compressed() (io.ReadCloser, error) { return os.Open(b.path) }

// Size is as the manifest says.
func (b *blob) Size() (int64, error) { return b.descriptor.Size, nil }

// MediaType is as the manifest says.
func (b *blob) MediaType() (types.MediaType, error) { return b.descriptor.MediaType, nil }
