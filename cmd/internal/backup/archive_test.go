package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func exception(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy.portcullis.dev/v1alpha1", "kind": "PolicyException",
		"metadata": map[string]any{"name": name, "namespace": "shop", "uid": "uid-of-" + name, "resourceVersion": "7", "managedFields": []any{map[string]any{"manager": "kubectl"}}},
		"spec":     map[string]any{"policy": "pods/host-path", "expires": "2027-01-31", "count": int64(9007199254740993)},
	}}
}

// small is an archive of two exceptions in two pages.
func small(t testing.TB) []byte {
	t.Helper()
	return archiveOf(t, "a", "b")
}

// archiveOf is an archive of exceptions, each in a page.
func archiveOf(t testing.TB, names ...string) []byte {
	t.Helper()
	var into bytes.Buffer
	w, err := newWriter(&into)
	if err != nil {
		t.Fatal(err)
	}
	kind := Find("PolicyException")
	of := Contents{Resource: kind.Name(), APIVersion: kind.Resource.GroupVersion().String(), Kind: kind.Kind, ResourceVersion: "42"}
	for _, name := range names {
		line, err := encodeObject(kind, exception(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.page(&of, [][]byte{line}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.end(&Manifest{Program: "test", Taken: time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC), Kinds: []Contents{of}, LeftOut: leftOut}); err != nil {
		t.Fatal(err)
	}
	return into.Bytes()
}

func opened(content []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	content := small(t)
	if again := small(t); !bytes.Equal(content, again) {
		t.Error("the same state gives two archives")
	}
	archive, err := Open(opened(content))
	if err != nil {
		t.Fatal(err)
	}
	if len(archive.Digest) != 71 || archive.Manifest.Objects() != 2 {
		t.Errorf("got digest %q and %d objects, want one and 2", archive.Digest, archive.Manifest.Objects())
	}
	var names []string
	err = archive.Objects(Find("policyexceptions"), func(o *unstructured.Unstructured) error {
		names = append(names, nameOf(o))
		if o.GetManagedFields() != nil {
			t.Errorf("%s has managed fields", o.GetName())
		}
		if count, _, err := unstructured.NestedInt64(o.Object, "spec", "count"); err != nil || count != 9007199254740993 {
			t.Errorf("%s: got the number %d and %v, want 2^53+1", o.GetName(), count, err)
		}
		return nil
	})
	if err != nil || strings.Join(names, " ") != "shop/a shop/b" {
		t.Errorf("got %v and %v, want shop/a and shop/b", names, err)
	}
}

// Wherever a copy was interrupted, nothing of it is believed.
func TestATruncatedArchiveIsRefused(t *testing.T) {
	content := small(t)
	for length := range len(content) {
		if _, err := Open(opened(content[:length])); err == nil {
			t.Fatalf("the first %d of %d bytes are taken for all of it", length, len(content))
		}
	}
	if _, err := Open(opened(content[:len(content)/2])); err == nil || !strings.Contains(err.Error(), "truncated; copy it again") {
		t.Errorf("got %v, want it to say that it is truncated", err)
	}
	if _, err := Open(opened(append(bytes.Clone(content), content...))); err == nil || !strings.Contains(err.Error(), "behind its end") {
		t.Errorf("two archives in one file: got %v", err)
	}
}

func TestAChangedArchiveIsRefused(t *testing.T) {
	content := small(t)
	for n := range content {
		changed := bytes.Clone(content)
		changed[n] ^= 0x10
		archive, err := Open(opened(changed))
		if err != nil {
			continue
		}
		// Some bits of gzip's header mean nothing.
		if want, _ := Open(opened(content)); archive.Digest != want.Digest {
			t.Errorf("byte %d was changed, and it was taken for whole", n)
		}
	}
}

// entry is one file of a hostile archive.
type entry struct {
	name, content string
	link          bool
}

func packed(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var into bytes.Buffer
	zip := gzip.NewWriter(&into)
	archive := tar.NewWriter(zip)
	for _, e := range entries {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: 0o600, Size: int64(len(e.content))}
		if e.link {
			header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, "/etc/passwd", 0
		}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(e.content)[:header.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return into.Bytes()
}

const (
	exceptions = "objects/policyexceptions.policy.portcullis.dev/000000.jsonl"
	oneLine    = `{"apiVersion":"policy.portcullis.dev/v1alpha1","kind":"PolicyException","metadata":{"name":"a","namespace":"shop","uid":"u"}}` + "\n"
)

var current = entry{name: versionName, content: fmt.Sprintf("%s%d\n", versionText, Version)}

// hostile are archives that are refused, with what is said of them.
func hostile(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"it is no archive":                         []byte("PK\x03\x04"),
		"reads up to 1: restore it with the":       packed(t, entry{name: versionName, content: versionText + "2\n"}, entry{name: "new/thing"}),
		"it is no archive of portcullis backup: g": packed(t, entry{name: "portcullis-support/index.json", content: "{}"}),
		"is no plain file":                         packed(t, current, entry{name: exceptions, link: true}),
		"which no backup has":                      packed(t, current, entry{name: "objects/../../etc/passwd", content: "x\n"}),
		`holds objects of "breakglasses.policy`:    packed(t, current, entry{name: "objects/breakglasses.policy.portcullis.dev/000000.jsonl", content: "{}\n"}),
		"truncated":                                packed(t, current, entry{name: exceptions, content: oneLine}),
		"is not in the manifest":                   packed(t, current, entry{name: exceptions, content: oneLine}, entry{name: manifestName, content: "{}"}),
		"lies behind the manifest":                 packed(t, current, entry{name: manifestName, content: "{}"}, entry{name: exceptions, content: oneLine}),
		"unknown field":                            packed(t, current, entry{name: manifestName, content: `{"signature":"trust me"}`}),
		"is there twice, or not in order":          packed(t, current, entry{name: exceptions, content: oneLine + oneLine}),
		"should hold a PolicyException":            packed(t, current, entry{name: exceptions, content: strings.Replace(oneLine, "PolicyException", "BreakGlass", 1)}),
		`the namespace "" is none`:                 packed(t, current, entry{name: exceptions, content: strings.Replace(oneLine, `"shop"`, `""`, 1)}),
		`the name "../a" is none`:                  packed(t, current, entry{name: exceptions, content: strings.Replace(oneLine, `"name":"a"`, `"name":"../a"`, 1)}),
		"has no UID":                               packed(t, current, entry{name: exceptions, content: strings.Replace(oneLine, `"uid":"u"`, `"uid":""`, 1)}),
		"it does not end with a line":              packed(t, current, entry{name: exceptions, content: strings.TrimSpace(oneLine)}),
		"it holds no object":                       packed(t, current, entry{name: exceptions, content: "[1]\n"}),
		"and at most 4194304 are read":             packed(t, current, entry{name: exceptions, content: `"` + strings.Repeat("a", MaxObject) + "\"\n"}),
		"and their pages hold 0": packed(t, current, entry{name: manifestName,
			content: `{"kinds":[{"resource":"policyexceptions.policy.portcullis.dev","apiVersion":"policy.portcullis.dev/v1alpha1","kind":"PolicyException","objects":3}]}`}),
		"which are not restored from a backup": packed(t, current, entry{name: manifestName,
			content: `{"kinds":[{"resource":"secrets","apiVersion":"v1","kind":"Secret","objects":0}]}`}),
	}
}

func TestAHostileArchiveIsRefused(t *testing.T) {
	for want, content := range hostile(t) {
		if _, err := Open(opened(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAnArchiveThatChangesMeanwhileIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.tar.gz")
	if err := os.WriteFile(file, small(t), 0o600); err != nil {
		t.Fatal(err)
	}
	archive, err := Open(func() (io.ReadCloser, error) { return os.Open(file) })
	if err != nil {
		t.Fatal(err)
	}
	for what, other := range map[string][]byte{
		"a page of another size": archiveOf(t, "a", "longer"), "one of the same size": archiveOf(t, "a", "c"), "a page that is gone": packed(t, current, entry{name: exceptions, content: oneLine}),
	} {
		if err := os.WriteFile(file, other, 0o600); err != nil {
			t.Fatal(err)
		}
		err = archive.Objects(Find("PolicyException"), func(o *unstructured.Unstructured) error {
			if o.GetName() != "a" {
				t.Errorf("%s: %s is seen, which was not there", what, o.GetName())
			}
			return nil
		})
		if !errors.Is(err, errChanged) {
			t.Errorf("%s: got %v, want %v", what, err, errChanged)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(small(f))
	for _, content := range hostile(f) {
		if len(content) < 100_000 {
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		archive, err := Open(opened(content))
		if err != nil {
			return
		}
		read := 0
		for _, kind := range Kinds() {
			err := archive.Objects(&kind, func(o *unstructured.Unstructured) error {
				read++
				if o.GetKind() != kind.Kind || o.GetName() == "" || (o.GetNamespace() != "") != kind.Namespaced {
					t.Errorf("read %s %q of %q as a %s", o.GetKind(), o.GetName(), o.GetNamespace(), kind.Kind)
				}
				run := &restoring{kind: &kind}
				run.clean(o)
				run.status(o)
				if kind.ended != nil {
					kind.ended(o, time.Time{})
				}
				if kind.about != nil {
					kind.about(o)
				}
				references(&kind, o, "portcullis-system")
				return nil
			})
			if err != nil {
				t.Errorf("it was found whole, and then %v", err)
			}
		}
		if read != archive.Manifest.Objects() {
			t.Errorf("read %d objects, and the manifest counts %d", read, archive.Manifest.Objects())
		}
	})
}
