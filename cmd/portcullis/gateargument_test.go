package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/workload"
)

func TestSplitLayout(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"dist", "odd:name"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	digest := "sha256:" + strings.Repeat("a", 64)
	for text, want := range map[string][2]string{
		"dist":                 {"dist", ""},
		"dist:1.2":             {"dist", "1.2"},
		"dist@" + digest:       {"dist", digest},
		"odd:name":             {"odd:name", ""},
		"odd:name:1":           {"odd:name", "1"},
		"missing":              {"missing", ""},
		"a:b/c":                {"a:b/c", ""},
		":1":                   {":1", ""},
		filepath.Join(".", ""): {".", ""},
	} {
		if file, wanted := splitLayout(text); file != want[0] || wanted != want[1] {
			t.Errorf("%s: got %q and %q, want %q and %q", text, file, wanted, want[0], want[1])
		}
	}
}

func TestPlainName(t *testing.T) {
	for path, want := range map[string]string{
		"dist": "dist", "a/My App.tar.gz": "my-app", "x/.tar": "image", "/": "image", "v1.2.tar": "v1-2",
	} {
		if got := plainName(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
		if _, err := workload.ParseImage("localhost/" + plainName(path)); err != nil {
			t.Errorf("%s: got %v, want a name that is a reference", path, err)
		}
	}
}

// FuzzImageArgument: what cannot be judged is a mistake of the caller with a next step, and what can has
// a reference.
func FuzzImageArgument(f *testing.F) {
	for _, seed := range []string{"", "nginx", "ghcr.io/acme/app:1", "oci:", "tar:x", "oci:x:1", "a=oci:x", "docker://nginx", "UPPER", "a=b", "=", "oci:\x00", "tar:/dev/null"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		argument, err := parseImageArgument(context.Background(), text)
		if err == nil {
			if _, err := workload.ParseImage(argument.image.Ref); err != nil {
				t.Errorf("%q: got the reference %q, want one", text, argument.image.Ref)
			}
			return
		}
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), "reading the image") {
			t.Errorf("%q: got %v, want a usage error about the image", text, err)
		}
	})
}
