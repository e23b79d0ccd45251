package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// writer writes an archive.
type writer struct {
	packed  *gzip.Writer
	archive *tar.Writer
	pages   int
	total   int64
}

func newWriter(w io.Writer) (*writer, error) {
	packed := gzip.NewWriter(w) // its header has no time and no name
	made := &writer{packed: packed, archive: tar.NewWriter(packed)}
	return made, made.file(versionName, fmt.Appendf(nil, "%s%d\n", versionText, Version))
}

// file writes one entry. It has no time and no owner.
func (w *writer) file(name string, content []byte) error {
	err := w.archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(content)), Format: tar.FormatUSTAR})
	if err == nil {
		_, err = w.archive.Write(content)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// page writes one page of a kind, and notes it in its contents.
func (w *writer) page(of *Contents, lines [][]byte) error {
	content := bytes.Join(lines, nil)
	name := fmt.Sprintf("%s%s/%06d.jsonl", pagesFolder, of.Resource, len(of.Pages))
	w.pages++
	w.total += int64(len(content))
	if len(content) > MaxPage || w.pages > MaxPages || w.total > MaxTotal {
		return fmt.Errorf("writing %s: the archive would be larger than one that can be read: leave kinds out by --without", name)
	}
	sum := sha256.Sum256(content)
	of.Pages = append(of.Pages, Page{Name: name, Objects: len(lines), Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])})
	of.Objects += len(lines)
	return w.file(name, content)
}

// end writes the manifest. It returns the digest of the archive, "sha256:…".
func (w *writer) end(manifest *Manifest) (string, error) {
	content, err := json.MarshalIndent(manifest, "", " ")
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", manifestName, err)
	}
	content = append(content, '\n')
	if len(content) > MaxManifest {
		return "", fmt.Errorf("writing %s: it would be larger than one that can be read: leave kinds out by --without", manifestName)
	}
	if err := w.file(manifestName, content); err != nil {
		return "", err
	}
	if err := errors.Join(w.archive.Close(), w.packed.Close()); err != nil {
		return "", fmt.Errorf("writing the archive: %w", err)
	}
	return digestOf(content), nil
}

func digestOf(manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return "sha256:" + hex.EncodeToString(sum[:])
}
