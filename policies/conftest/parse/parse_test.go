package parse_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/conftest/parse"
)

const shapes = "../testdata/shapes"

// TestShapesAreThoseOfConftest compares with what Conftest printed of the same files.
func TestShapesAreThoseOfConftest(t *testing.T) {
	files, err := os.ReadDir(shapes)
	if err != nil {
		t.Fatal(err)
	}
	formats := map[string]bool{}
	for _, file := range files {
		t.Run(file.Name(), func(t *testing.T) {
			content := read(t, filepath.Join(shapes, file.Name()))
			document, err := parse.File(file.Name(), "", content)
			if err != nil {
				t.Fatal(err)
			}
			want := value(t, read(t, filepath.Join("../testdata/expected", file.Name()+".json")))
			raw, err := json.Marshal(document.Contents)
			if err != nil {
				t.Fatal(err)
			}
			if got := value(t, raw); !reflect.DeepEqual(got, want) {
				t.Errorf("got %s\nwant %v", raw, want)
			}
		})
		formats[strings.TrimPrefix(filepath.Ext(file.Name()), ".")] = true
	}
	if len(formats) < 10 {
		t.Errorf("got shapes of %d kinds of files, want at least 10", len(formats))
	}
}

// value decodes JSON without regard to how a number is written.
func value(t *testing.T, raw []byte) any {
	t.Helper()
	var decoded any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestTheNameOfAFileTellsItsFormat(t *testing.T) {
	cases := map[string]struct{ name, content, error string }{
		"a Dockerfile by its whole name":      {"a/Dockerfile", "FROM scratch", ""},
		"a Dockerfile with a suffix":          {"Dockerfile.dev", "FROM scratch", ""},
		"variables of Terraform":              {"x.tfvars", "a = 1", ""},
		"an environment with a suffix":        {".env.prod", "A=1", ""},
		"standard input is YAML":              {"-", "a: 1", ""},
		"capitals do not matter":              {"A.YAML", "a: 1", ""},
		"CUE is left out with the reason":     {"a.cue", "a: 1", "cue export"},
		"Jsonnet is left out with the reason": {"a.jsonnet", "{}", "render it"},
		"a Jenkinsfile is left out":           {"Jenkinsfile", "", "a program"},
		"nginx is left out":                   {"nginx.conf", "", "modules"},
		"an unknown ending is an error":       {"a.xyz", "", `"xyz" is not known: name one with --parser: dockerfile, dotenv`},
		"no ending is an error":               {"a", "", "is not known"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := parse.File(c.name, "", []byte(c.content))
			check(t, err, c.error)
			if got := parse.Supported(c.name); got != (c.error == "") {
				t.Errorf("got supported %v, want %v", got, c.error == "")
			}
		})
	}
}

func TestWhatConftestPassesOverIsAnError(t *testing.T) {
	cases := map[string]struct{ format, content, error string }{
		"a YAML key that is given twice":              {parse.YAML, "a: 1\na: 2", "already set"},
		"JSON with more behind it":                    {parse.JSON, `{} {}`, "more after"},
		"an empty JSON file":                          {parse.JSON, "", "empty"},
		"XML that ends in the middle":                 {parse.XML, "<a><b>", "unexpected EOF"},
		"XML without an element":                      {parse.XML, "text", "no element"},
		"an environment that refers to another one":   {parse.Dotenv, "A=${HOME}/x", "depends on where it is read"},
		"properties that refer to the environment":    {parse.Properties, "a = ${HOME}", "depends on where it is read"},
		"HCL nested too deep":                         {parse.HCL2, "a = " + strings.Repeat("[", 300), "nested deeper than 200"},
		"HCL with too many negations":                 {parse.HCL2, "a = " + strings.Repeat("!\n", 20_000), "signs"},
		"HCL with too many minus signs":               {parse.HCL2, "a = " + strings.Repeat("- ", 20_000), "signs"},
		"TOML nested too deep":                        {parse.TOML, "a = " + strings.Repeat("[", 300), "nested deeper than 200"},
		"XML nested too deep":                         {parse.XML, strings.Repeat("<a>", 300), "nested deeper than 200"},
		"a Dockerfile with an unknown instruction":    {parse.Dockerfile, "FROM scratch\nFRMO x", "unknown instruction"},
		"HCL that does not parse":                     {parse.HCL2, "a = ", "reading it as hcl2"},
		"a file that is too large":                    {parse.INI, strings.Repeat("x", 1<<20+1), "use at most"},
		"a YAML file whose aliases multiply":          {parse.YAML, bomb(), "aliases expand"},
		"properties that refer to each other forever": {parse.Properties, "a = ${b}\nb = ${a}", "circular"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := parse.Read(c.format, []byte(c.content))
			check(t, err, c.error)
		})
	}
}

func bomb() string {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		this, last := string(rune('1'+i)), string(rune('0'+i))
		text += "a" + this + ": &a" + this + " [" + strings.Repeat("*a"+last+", ", 9) + "*a" + last + "]\n"
	}
	return text
}

// TestNoYAMLDocumentIsHidden is about markers that Conftest takes for none: it reads the first document only.
func TestNoYAMLDocumentIsHidden(t *testing.T) {
	for name, content := range map[string]string{
		"a space after the marker":  "a: 1\n--- \nb: 2\n",
		"content on the marker":     "a: 1\n--- {b: 2}\n",
		"the end of a document":     "a: 1\n...\nb: 2\n",
		"mixed ends of lines":       "a: 1\r\n---\nb: 2\n",
		"a tab after the marker":    "a: 1\n---\t\nb: 2\n",
		"a marker and a comment":    "a: 1\n--- # more\nb: 2\n",
		"a marker before the first": "---\na: 1\n---\nb: 2\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse.Read(parse.YAML, []byte(content))
			list, ok := got.([]any)
			if err != nil || !ok || len(list) != 2 {
				t.Errorf("got %v, %v, want two documents", got, err)
			}
		})
	}
}

func TestNamesAreSorted(t *testing.T) {
	if names := parse.Names(); !slices.IsSorted(names) || len(names) != 10 {
		t.Errorf("got %v, want ten sorted", names)
	}
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want no error", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want an error with %q", err, want)
	}
}

func FuzzRead(f *testing.F) {
	files, err := os.ReadDir(shapes)
	if err != nil {
		f.Fatal(err)
	}
	for n := range files {
		f.Add(n%len(parse.Names()), read(f, filepath.Join(shapes, files[n].Name())))
	}
	f.Fuzz(func(t *testing.T, n int, content []byte) {
		names := parse.Names()
		format := names[((n%len(names))+len(names))%len(names)]
		first, err := parse.Read(format, content)
		if err != nil {
			if strings.Contains(err.Error(), "panicked") {
				t.Errorf("%s: %v", format, err)
			}
			return
		}
		raw, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("%s: got a value that is no JSON: %v", format, err)
		}
		second, err := parse.Read(format, content)
		again, _ := json.Marshal(second)
		if err != nil || !bytes.Equal(raw, again) {
			t.Errorf("%s: got %s and then %s, %v", format, raw, again, err)
		}
	})
}
