package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Limits of a directory of evidence.
const (
	// maxStatements is as many files as a release of some hundred images has.
	maxStatements = 10_000
	// maxStatement is one file, which may hold an SBOM or several lines.
	maxStatement = 64 << 20
	// maxStatementsTotal is what all files may take in memory.
	maxStatementsTotal = 512 << 20
)

// filedStatements are attestations in files: Sigstore bundles and DSSE envelopes, one to a file
// or one to a line. Whoever put them there is not believed: each counts by its signature.
type filedStatements struct{ contents [][]byte }

// readStatements reads all files of a directory.
func readStatements(directory string) (*filedStatements, error) {
	statements := &filedStatements{}
	files, total := 0, 0
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if files++; files > maxStatements {
			return fmt.Errorf("it has more than %d files: name a smaller one", maxStatements)
		}
		content, err := readLimited(path, maxStatement)
		if err != nil {
			return err
		}
		if total += len(content); total > maxStatementsTotal {
			return fmt.Errorf("its files have more than %d MB: name a smaller one", maxStatementsTotal>>20)
		}
		statements.add(content)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the evidence in %s: %w", directory, err)
	}
	return statements, nil
}

// add takes a file in: whole, or line by line where each is a JSON object of its own.
func (s *filedStatements) add(content []byte) {
	lines := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	for _, line := range lines {
		if line = bytes.TrimSpace(line); len(line) < 2 || line[0] != '{' || line[len(line)-1] != '}' {
			lines = [][]byte{content}
			break
		}
	}
	s.contents = append(s.contents, lines...)
}

func readLimited(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(content)) > most {
		return nil, fmt.Errorf("%s has more than %d MB", path, most>>20)
	}
	return content, err
}

// about are those attestations about a digest that an authority that trust names has signed.
func (s *filedStatements) about(ctx context.Context, verifier *cosign.Verifier, repository registry.Repository, digest string, trust *signer.Configuration) []signer.Attestation {
	var found []signer.Attestation
	for _, content := range s.contents {
		attestations, _ := verifier.VerifyEnvelope(ctx, content, digest, repository, trust)
		found = append(found, attestations...)
	}
	return found
}

// isLayout says whether a directory is an OCI image layout (image specification, "oci-layout file").
func isLayout(directory string) bool {
	_, err := os.Stat(filepath.Join(directory, "oci-layout"))
	return !errors.Is(err, fs.ErrNotExist)
}
