package archive

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"time"
)

// Pack writes the tree as a tar archive compressed with gzip: files only, sorted by name, mode 0644, owned by nobody
// and of no time. The same tree gives the same bytes, as long as the compression of Go's library does: what identifies a
// tree across versions is its [Tree.Digest].
func (t *Tree) Pack(w io.Writer) error {
	compressed := gzip.NewWriter(w)
	packed := tar.NewWriter(compressed)
	for name, content := range t.All() {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o644, ModTime: time.Unix(0, 0)}
		if err := packed.WriteHeader(header); err != nil {
			return fmt.Errorf("packing %s: %w", name, err)
		}
		if _, err := packed.Write(content); err != nil {
			return fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := packed.Close(); err != nil {
		return fmt.Errorf("packing the bundle: %w", err)
	}
	if err := compressed.Close(); err != nil {
		return fmt.Errorf("packing the bundle: %w", err)
	}
	return nil
}
