package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Parts of a page: a file's name in a line of its own before its block, and transcripts.
var (
	pageFile       = regexp.MustCompile("(?m)^`([A-Za-z0-9./_-]+)`:\n\n```[a-z]+\n((?s:.*?))^```$")
	shortDigest    = regexp.MustCompile(`sha256:[0-9a-f]{12}\b`) // of bundles; it changes with the library
	pageTranscript = regexp.MustCompile("(?m)^```console\n((?s:.*?))^```$")
)

// TestMigrationGuides runs the worked examples of the guides: the files of a page are written down, its commands run in
// order, and each has to say what stands on the page.
func TestMigrationGuides(t *testing.T) {
	for page, commands := range map[string]int{"conftest.md": 3, "cluster-image-policy.md": 1, "pod-security-labels.md": 1} {
		t.Run(page, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join("../../docs", page))
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			for _, match := range pageFile.FindAllSubmatch(content, -1) {
				name := string(match[1])
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, match[2], 0o600); err != nil {
					t.Fatal(err)
				}
			}
			ran := 0
			for _, match := range pageTranscript.FindAllSubmatch(content, -1) {
				command, want, _ := strings.Cut(string(match[1]), "\n")
				arguments, ours := strings.CutPrefix(command, "$ portcullis ")
				if !ours {
					continue
				}
				ran++
				var out bytes.Buffer
				run(context.Background(), strings.Fields(arguments), strings.NewReader(""), &out, &out)
				if got := shortDigest.ReplaceAllString(out.String(), "sha256:…"); got != want {
					t.Errorf("%s: got\n%s\nthe page says\n%s", command, got, want)
				}
			}
			if ran != commands {
				t.Errorf("got %d commands on the page, want %d", ran, commands)
			}
		})
	}
}
