package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/portcullis-dev/portcullis/policies/library"
)

// libraryPolicies are those that testdata/bundle configures beside its own.
var libraryPolicies = []string{"pods/exec", "pods/ephemeral-containers"}

// writeOwnBundle puts testdata/bundle into a folder, with the library's policies that
// it names.
func writeOwnBundle(dir string) (string, error) {
	if err := os.CopyFS(dir, os.DirFS("testdata/bundle")); err != nil {
		return "", fmt.Errorf("writing the bundle of the tests: %w", err)
	}
	for _, id := range libraryPolicies {
		policy, err := fs.Sub(library.FS(), id)
		if err != nil {
			return "", fmt.Errorf("writing the bundle of the tests: %w", err)
		}
		if err := os.CopyFS(filepath.Join(dir, "policies", filepath.FromSlash(id)), policy); err != nil {
			return "", fmt.Errorf("writing the bundle of the tests: %w", err)
		}
	}
	return dir, nil
}
