package database

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// unpack writes the two files of a database's artifact, a gzipped tar archive, into a folder. Anything else in
// it, links foremost, refuses the archive, as does what unpacks to more than most bytes.
func (k *kind) unpack(archive io.Reader, folder string, most int64) error {
	zipped, err := gzip.NewReader(archive)
	if err != nil {
		return fmt.Errorf("unpacking the archive: %w", err)
	}
	// One more, to tell an archive that ends there from one that goes on.
	limited := &io.LimitedReader{R: zipped, N: most + 1}
	seen := map[string]bool{}
	for reader := tar.NewReader(limited); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if limited.N <= 0 {
			return fmt.Errorf("unpacking the archive: it has more than the %d bytes that are allowed", most)
		}
		if err != nil {
			return fmt.Errorf("unpacking the archive: %w", err)
		}
		name := path.Clean(header.Name)
		switch {
		case header.Typeflag == tar.TypeDir && name == ".":
			continue
		case header.Typeflag != tar.TypeReg || name != k.file && name != metadataFile:
			return fmt.Errorf("unpacking the archive: it has %.100q, where only the files %s and %s belong", header.Name, k.file, metadataFile)
		case seen[name]:
			return fmt.Errorf("unpacking the archive: it has %s twice", name)
		}
		seen[name] = true
		if err := write(filepath.Join(folder, name), reader); err != nil {
			if limited.N <= 0 {
				return fmt.Errorf("unpacking the archive: it has more than the %d bytes that are allowed", most)
			}
			return fmt.Errorf("unpacking %s: %w", name, err)
		}
	}
	for _, name := range []string{k.file, metadataFile} {
		if !seen[name] {
			return fmt.Errorf("unpacking the archive: it has no %s", name)
		}
	}
	// What follows the archive is read, too: only at its very end is the digest known to be right.
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return fmt.Errorf("unpacking the archive: %w", err)
	}
	if limited.N <= 0 {
		return fmt.Errorf("unpacking the archive: it has more than the %d bytes that are allowed", most)
	}
	if _, err := io.Copy(io.Discard, archive); err != nil {
		return fmt.Errorf("unpacking the archive: %w", err)
	}
	return nil
}

// write makes a file that is on disk when it returns.
func write(path string, content io.Reader) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Sync(), file.Close())
}

// hexOf is a digest without its algorithm, as a name of a folder.
func hexOf(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex
}
