package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// advised is a command of this program in a text: its words up to the end of the clause.
var advised = regexp.MustCompile("(?:^|[^\\w./-])portcullis((?: [^\\s,;)\"`]+)+)")

// TestCommandsInAdviceExist takes the commands from what policies tell people to do, and from the page about images.
func TestCommandsInAdviceExist(t *testing.T) {
	found := 0
	for _, file := range adviceFiles(t) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range advised.FindAllStringSubmatch(string(content), -1) {
			found++
			if complaint := unknownIn((&program{}).command(), strings.Fields(match[1])); complaint != "" {
				t.Errorf("%s says %q, where %s", file, "portcullis"+match[1], complaint)
			}
		}
	}
	if found == 0 {
		t.Error("no command was found: this test proves nothing")
	}
	for _, wrong := range []string{"image scan --attest", "image frobnicate", "scan"} {
		if unknownIn((&program{}).command(), strings.Fields(wrong)) == "" {
			t.Errorf("%q is taken for a command: this test proves nothing", wrong)
		}
	}
}

// adviceFiles are the rules of the library and the page about images.
func adviceFiles(t *testing.T) []string {
	t.Helper()
	files := []string{"../../docs/images.md"}
	err := filepath.WalkDir("../../policies/library", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".rego") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// unknownIn says what of a command does not exist, "" for nothing.
func unknownIn(command *cobra.Command, words []string) string {
	for len(words) > 0 && command.HasAvailableSubCommands() {
		next, _, err := command.Find(words[:1])
		if err != nil || next == command {
			return "there is no command " + words[0]
		}
		command, words = next, words[1:]
	}
	for _, word := range words {
		name, isFlag := strings.CutPrefix(word, "--")
		name, _, _ = strings.Cut(strings.TrimRight(name, "."), "=")
		if isFlag && command.Flag(name) == nil {
			return command.CommandPath() + " has no flag --" + name
		}
	}
	return ""
}
