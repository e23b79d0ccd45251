package main

import (
	"context"
	"strings"
	"testing"
)

func TestCutLinesFitTheTerminal(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		width int
		want  string
	}{
		"a short line stays":                {"ab\n", 4, "ab\n"},
		"a line of the very width stays":    {"abcd\nab\n", 4, "abcd\nab\n"},
		"a longer line ends with a mark":    {"abcde\nab\n", 4, "abc…\nab\n"},
		"characters are counted, not bytes": {"äöüß\n", 4, "äöüß\n"},
		"no terminal has no width":          {"abcde\n", 0, "abcde\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cutLines(test.text, test.width); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPolicyListLeavesControlsToItsOtherForms(t *testing.T) {
	for format, want := range map[string]bool{"text": false, "json": true} {
		t.Run(format, func(t *testing.T) {
			var stdout, stderr strings.Builder
			if code := run(context.Background(), []string{"policy", "list", "--format", format}, nil, &stdout, &stderr); code != 0 {
				t.Fatalf("got exit code %d: %s", code, stderr.String())
			}
			if got := strings.Contains(strings.ToLower(stdout.String()), "controls"); got != want {
				t.Errorf("got controls %v, want %v in\n%s", got, want, stdout.String())
			}
		})
	}
}
