package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Names in an OCI image layout
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md).
const (
	layoutFile    = "oci-layout"
	layoutVersion = `{"imageLayoutVersion":"1.0.0"}`
	indexFile     = "index.json"
	refName       = "org.opencontainers.image.ref.name"
	// maxIndex is how many bytes of an index are read.
	maxIndex = 4 << 20
)

// LayoutWriter is a [Destination]: a folder that is an OCI image layout, to be carried where no registry can be
// reached. Repositories are not looked at: a layout has only one. One program at a time may write to it.
type LayoutWriter struct{ path string }

// NewLayoutWriter takes a folder: one that is a layout, or is empty, or is not there yet.
func NewLayoutWriter(folder string) (*LayoutWriter, error) {
	w := &LayoutWriter{path: folder}
	if err := w.prepare(); err != nil {
		return nil, fmt.Errorf("opening the image layout %s: %w", folder, err)
	}
	return w, nil
}

func (w *LayoutWriter) prepare() error {
	entries, err := os.ReadDir(w.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	isLayout := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == layoutFile })
	if len(entries) > 0 && !isLayout {
		return errors.New("there is something else in it: name a folder that is empty, or is an image layout")
	}
	if isLayout {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(w.path, "blobs", "sha256"), 0o755); err != nil {
		return err
	}
	if err := w.write(indexFile, []byte(`{"schemaVersion":2,"manifests":[]}`)); err != nil {
		return err
	}
	return w.write(layoutFile, []byte(layoutVersion))
}

// write replaces a file as a whole.
func (w *LayoutWriter) write(name string, content []byte) error {
	temporary, err := os.CreateTemp(w.path, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(content)
	if err = errors.Join(err, temporary.Chmod(0o644), temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), filepath.Join(w.path, name))
}

// PushBlob implements [Destination].
func (w *LayoutWriter) PushBlob(_ context.Context, _ registry.Repository, content []byte) (registry.Descriptor, error) {
	digest := registry.DigestOf(content)
	if err := w.write(path.Join("blobs", strings.Replace(digest, ":", "/", 1)), content); err != nil {
		return registry.Descriptor{}, fmt.Errorf("writing the blob %s to %s: %w", digest, w.path, err)
	}
	return registry.Descriptor{MediaType: "application/octet-stream", Digest: digest, Size: int64(len(content))}, nil
}

// PushManifest implements [Destination]. A tag that another manifest has is taken from it.
func (w *LayoutWriter) PushManifest(ctx context.Context, repository registry.Repository, reference, mediaType string, raw []byte) (registry.Descriptor, error) {
	pushed, err := w.PushBlob(ctx, repository, raw)
	if err != nil {
		return registry.Descriptor{}, err
	}
	pushed.MediaType = mediaType
	if err := w.enter(reference, pushed); err != nil {
		return registry.Descriptor{}, fmt.Errorf("entering %s in %s: %w", reference, w.path, err)
	}
	return pushed, nil
}

// listed is an entry of index.json.
type listed struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// enter writes index.json anew, with every manifest once.
func (w *LayoutWriter) enter(reference string, pushed registry.Descriptor) error {
	content, err := os.ReadFile(filepath.Join(w.path, indexFile))
	if err != nil {
		return err
	}
	var index struct {
		SchemaVersion int      `json:"schemaVersion"`
		Manifests     []listed `json:"manifests"`
	}
	if len(content) > maxIndex {
		return fmt.Errorf("%s has more than %d bytes: make the layout anew", indexFile, maxIndex)
	}
	if err := json.Unmarshal(content, &index); err != nil {
		return fmt.Errorf("%s: %w: make the layout anew", indexFile, err)
	}
	one := listed{MediaType: pushed.MediaType, Digest: pushed.Digest, Size: pushed.Size}
	if reference != pushed.Digest {
		one.Annotations = map[string]string{refName: reference}
	}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(other listed) bool {
		return other.Digest == one.Digest && len(other.Annotations) == 0 || one.Annotations != nil && other.Annotations[refName] == reference
	})
	index.Manifests = append(index.Manifests, one)
	written, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return w.write(indexFile, written)
}
