package source

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// foreignFile is why a file or document without those keys is no problem in a directory.
const foreignFile = "not a Kubernetes manifest: no apiVersion and kind"

// maxForeign is how much of a file that cannot be read is searched for the keys of a
// manifest. A longer one is taken to have them.
const maxForeign = 64 << 20

var (
	// manifestKey is a key that every manifest has, in YAML or JSON, with whatever may
	// stand before its colon. JSON keys are read without regard to case.
	manifestKey = regexp.MustCompile(`(?i)(apiVersion|kind)["']?(\s|#[^\n]*\n)*:`)
	// escaped is what could spell such a key in another way.
	escaped = regexp.MustCompile(`\\[uUx\r\n]|\x00`)
)

// isForeign says of a file that cannot be read as a manifest that it never was one, as a
// tsconfig.json with comments: nowhere in it is a key that an object must have, so
// that kubectl would send nothing of it. In doubt it is false.
func isForeign(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxForeign+1))
	if err != nil || len(content) > maxForeign || len(bytes.TrimSpace(content)) == 0 {
		return false
	}
	return !manifestKey.Match(content) && !escaped.Match(content)
}

func checkGlobs(globs []string) error {
	for _, glob := range globs {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("excluding %q: %w: write a glob as node_modules or web/*.json", glob, err)
		}
	}
	return nil
}

// excludedBy is the glob that passes over a path below the directory root.
func (l *reading) excludedBy(root, file string) (glob string, excluded bool) {
	relative, err := filepath.Rel(root, file)
	if err != nil {
		return "", false
	}
	relative = filepath.ToSlash(relative)
	for _, glob := range l.options.Exclude {
		name := relative
		if !strings.Contains(strings.TrimSuffix(glob, "/"), "/") {
			name = path.Base(relative)
		}
		if matched, _ := path.Match(strings.TrimSuffix(glob, "/"), name); matched {
			return glob, true
		}
	}
	return "", false
}
