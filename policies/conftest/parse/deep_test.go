package parse_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/conftest/parse"
)

// TestTooDeepFilesAreRefused has what parsers take the square of its length for.
func TestTooDeepFilesAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ format, content, want string }{
		"directives of HCL's templates": {parse.HCL2, `a = "` + strings.Repeat("%{if b}", 100_000) + "\"\n", "directives"},
		"a table of TOML":               {parse.TOML, "[" + strings.Repeat("a.", 100_000) + "a]\n", "a key of more than 200 parts"},
		"a key of TOML":                 {parse.TOML, strings.Repeat("a.", 100_000) + "a = 1\n", "a key of more than 200 parts"},
		"references of properties":      {parse.Properties, doubling("a%d = ${a%d}${a%d}\n", "a0 = xxxxxxxx\n"), "make more than"},
		"a key in a table of TOML":      {parse.TOML, "x = {" + strings.Repeat("a.", 100_000) + "a = 1}\n", "a key of more than 200 parts"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse.Read(c.format, []byte(c.content))
			check(t, err, c.want)
		})
	}
}

// doubling has values each of which is twice the one before.
func doubling(line, first string) string {
	for n := 1; n < 40; n++ {
		first += fmt.Sprintf(line, n, n-1, n-1)
	}
	return first
}

// TestDeepFilesDoNotEndTheProgram has what nests without a bracket, as deep as its limit allows: Go ends a program whose stack
// is larger than 1 GB, and nothing recovers from that.
func TestDeepFilesDoNotEndTheProgram(t *testing.T) {
	const most = 1 << 20
	repeated := func(text string) string { return strings.Repeat(text, (most-64)/len(text)) }
	for name, c := range map[string]struct{ format, content string }{
		"conditions of HCL":             {parse.HCL2, "a = " + strings.Repeat("b ? c : ", 9_999) + "d\n"},
		"negations of HCL":              {parse.HCL2, "a = " + strings.Repeat("!", 9_999) + "b\n"},
		"directives of HCL's templates": {parse.HCL2, `a = "` + strings.Repeat("%{if b}", 2_000) + "\"\n"},
		"operators of HCL":              {parse.HCL2, "a = 1" + repeated("+1") + "\n"},
		"attributes of HCL":             {parse.HCL2, "a = b" + repeated(".c") + "\n"},
		"folders of properties":         {parse.Properties, repeated("a.") + "=1"},
		"tables of TOML":                {parse.TOML, "[" + repeated("a.") + "a]\n"},
		"keys of TOML":                  {parse.TOML, repeated("a.") + "a = 1\n"},
		"JSON":                          {parse.JSON, strings.Repeat("[", 16<<20)},
		"YAML's lists":                  {parse.YAML, strings.Repeat("- ", 1<<20)},
		"YAML's brackets":               {parse.YAML, strings.Repeat("[", 1<<20)},
		"ONBUILD of a Dockerfile":       {parse.Dockerfile, "FROM scratch\n" + repeated("ONBUILD ") + "RUN x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse.Read(c.format, []byte(c.content)); err != nil && strings.Contains(err.Error(), "panicked") {
				t.Errorf("got %v, want a value or an error of the format", err)
			}
		})
	}
}
