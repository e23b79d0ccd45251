package supportbundle

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"time"
)

// Write writes the files as a compressed archive, each below a folder. Everything in it has one time.
func (b *Bundle) Write(w io.Writer, folder string, at time.Time) error {
	packed := gzip.NewWriter(w)
	archive := tar.NewWriter(packed)
	for _, file := range b.Files {
		header := &tar.Header{Name: folder + "/" + file.Name, Mode: 0o600, Size: int64(len(file.Content)), ModTime: at.Truncate(time.Second), Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("writing %s: %w", file.Name, err)
		}
		if _, err := archive.Write(file.Content); err != nil {
			return fmt.Errorf("writing %s: %w", file.Name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return packed.Close()
}
