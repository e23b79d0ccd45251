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
	// templateAction is what Go templates have and YAML rarely: {{ .Values.x }}, {{- if …
	templateAction = regexp.MustCompile(`\{\{-?\s*[.$a-z(]`)
)

// isForeign says of a file that cannot be read as a manifest that it never was one, as a
// tsconfig.json with comments: nowhere in it is a key that an object must have, so
// that kubectl would send nothing of it. In doubt it is false.
func isForeign(file string) bool {
	content := again(file)
	return len(bytes.TrimSpace(content)) > 0 && !manifestKey.Match(content) && !escaped.Match(content)
}

// isTemplate says of a file that cannot be read as a manifest that Helm might.
func isTemplate(file string) bool { return templateAction.Match(again(file)) }

// again is the content of a file that could not be read as a manifest, nothing where it
// is too long or cannot be read twice, as a pipe.
func again(file string) []byte {
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxForeign {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxForeign+1))
	if err != nil || len(content) > maxForeign {
		return nil
	}
	return content
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
