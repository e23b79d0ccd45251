package archive_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/policies/archive"
)

// sample is a bundle with the kinds of files that bundles have.
func sample() map[string][]byte {
	return map[string][]byte{
		"bundle.yaml":                 []byte("name: acme\nserial: 7\n"),
		"README.md":                   []byte("# Acme\n"),
		"pods/privileged/policy.rego": []byte("package pods.privileged\n"),
		"pods/privileged/testdata/allow/good.yaml": []byte("kind: Pod\n"),
		"pods/empty.yaml":                          {},
		"Pods/README":                              []byte("another folder, by case"),
		"gatekeeper/ä.yaml":                        []byte("kind: ConstraintTemplate\n"),
	}
}

func newTree(t *testing.T, files map[string][]byte) *archive.Tree {
	t.Helper()
	tree, err := archive.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestATreeIsAFileSystem(t *testing.T) {
	tree := newTree(t, sample())
	if err := fstest.TestFS(tree.FS(), tree.Names()...); err != nil {
		t.Error(err)
	}
}

func TestWhatIsReadOfATreeCannotChangeIt(t *testing.T) {
	tree := newTree(t, sample())
	content, err := fs.ReadFile(tree.FS(), "bundle.yaml")
	if err != nil {
		t.Fatal(err)
	}
	content[0] = '!'
	if again, _ := tree.Content("bundle.yaml"); again[0] != 'n' {
		t.Errorf("got %q, want the content as it was", again)
	}
	names := tree.Names()
	names[0] = "other"
	if got := tree.Names()[0]; got == "other" {
		t.Errorf("got %q as a name", got)
	}
}

// The digest is part of what is signed, pinned and stored: it must never change for the same files.
func TestTheDigestOfATreeIsForEver(t *testing.T) {
	const want = "sha256:1d6bc9d9ac6b20af4a8b80b5352baeaaeb66550565bd14ea0c8cb1706015b0c2"
	if got := newTree(t, sample()).Digest(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheDigestIsThatOfNamesAndContents(t *testing.T) {
	files := func(pairs ...string) map[string][]byte {
		m := map[string][]byte{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = []byte(pairs[i+1])
		}
		return m
	}
	base := files("a", "1", "b/c", "2")
	for name, c := range map[string]struct {
		files map[string][]byte
		same  bool
	}{
		"the same files":                         {files("b/c", "2", "a", "1"), true},
		"hidden files beside them":               {files("a", "1", "b/c", "2", ".git/config", "x", "b/.x", "y", ".manifest", "{}"), true},
		"another content":                        {files("a", "1", "b/c", "3"), false},
		"another name":                           {files("a", "1", "b/d", "2"), false},
		"one file more":                          {files("a", "1", "b/c", "2", "d", ""), false},
		"one file fewer":                         {files("a", "1"), false},
		"contents exchanged":                     {files("a", "2", "b/c", "1"), false},
		"a name that goes on in the content":     {files("a", "1", "b/", ""), false},
		"a content that is cut in another place": {files("a", "1b", "/c", "2"), false},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := archive.New(c.files)
			if err != nil {
				if c.same {
					t.Fatal(err)
				}
				return
			}
			if got := tree.Digest() == newTree(t, base).Digest(); got != c.same {
				t.Errorf("got the same digest: %v, want %v", got, c.same)
			}
		})
	}
}

func TestNamesThatAreNoneAreRefused(t *testing.T) {
	for name, want := range map[string]string{
		"":                              "no name",
		"../x":                          "leads elsewhere",
		"a/../../b":                     "leads elsewhere",
		"a/./b":                         "leads elsewhere",
		"a//b":                          "leads elsewhere",
		"a/":                            "leads elsewhere",
		".":                             "leads elsewhere",
		"/etc/passwd":                   "absolute",
		`a\..\b`:                        "backslash",
		"a\x00b":                        "cannot be seen",
		"a\nb":                          "cannot be seen",
		"a\u202eb":                      "cannot be seen",
		"a\xffb":                        "not UTF-8",
		strings.Repeat("a", 1025):       "shorten it",
		strings.Repeat("a/", 32) + "b":  "folders deep",
		strings.Repeat(".a/", 32) + "b": "folders deep",
	} {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			_, err := archive.New(map[string][]byte{"bundle.yaml": nil, name: nil})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		})
	}
}

func TestWhatIsOverTheLimitsIsRefused(t *testing.T) {
	many := map[string][]byte{}
	for i := range archive.MaxFiles + 1 {
		many[fmt.Sprintf("f%d", i)] = nil
	}
	large := map[string][]byte{}
	block := make([]byte, archive.MaxFile)
	for i := range archive.MaxBytes/archive.MaxFile + 1 {
		large[fmt.Sprintf("f%d", i)] = block
	}
	for name, c := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"no files":                  {nil, "there are no files"},
		"hidden files alone":        {map[string][]byte{".git/HEAD": nil}, "there are no files"},
		"a file that is too large":  {map[string][]byte{"a": make([]byte, archive.MaxFile+1)}, "a has more than 4194304 bytes"},
		"too many files":            {many, "more than 20000 files or 67108864 bytes"},
		"too many bytes":            {large, "more than 20000 files or 67108864 bytes"},
		"a file that is a folder":   {map[string][]byte{"a": nil, "a/b": nil}, "a file and a folder at once"},
		"a folder far above a file": {map[string][]byte{"a": nil, "a/b/c/d": nil}, "a file and a folder at once"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := archive.New(c.files)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestWhatIsJustWithinTheLimitsIsTaken(t *testing.T) {
	many := map[string][]byte{strings.Repeat("a/", 31) + "b": make([]byte, archive.MaxFile)}
	for i := range archive.MaxFiles - 1 {
		many[fmt.Sprintf("f%d", i)] = nil
	}
	tree := newTree(t, many)
	var packed bytes.Buffer
	if err := tree.Pack(&packed); err != nil {
		t.Fatal(err)
	}
	again, err := archive.Unpack(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest() != tree.Digest() {
		t.Errorf("got %s, want %s", again.Digest(), tree.Digest())
	}
}

func BenchmarkNew(b *testing.B) {
	files := map[string][]byte{}
	for i := range 1000 {
		files[fmt.Sprintf("g%d/p%d/policy.rego", i%30, i)] = bytes.Repeat([]byte("deny if input.x\n"), 100)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := archive.New(files); err != nil {
			b.Fatal(err)
		}
	}
}
