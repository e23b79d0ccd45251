//go:build goexperiment.jsonv2

package trivy

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
)

func lookAt(archive []byte) (seen, error) {
	o := observe(&budget{limits: Limits{Entries: 1000}})
	defer o.stop()
	if err := o.write(archive); err != nil {
		return seen{}, err
	}
	return o.result()
}

func FuzzLook(f *testing.F) {
	for _, entries := range [][]trivytest.Entry{
		nil,
		trivytest.Debian("12.5", trivytest.Package{Name: "a", Version: "1"}),
		{trivytest.Whiteout("a/b"), trivytest.Opaque("c"), {Path: "d", Symlink: "/e"}, {Path: "f.jar", Hardlink: "g"}, {Path: "h", Directory: true}},
		{trivytest.Text("../../x", ""), trivytest.Program("bin/sh", []byte("\x7fELF"))},
	} {
		archive, err := trivytest.Archive(entries...)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive)
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		found, err := lookAt(archive)
		if err != nil {
			return
		}
		all := merge([]seen{found, found})
		for name := range all.Files {
			if name == "" || name[0] == '/' || name == ".." || len(name) > 2 && name[:3] == "../" {
				t.Errorf("the name %q is none inside an image", name)
			}
		}
	})
}

func FuzzParseRelease(f *testing.F) {
	f.Add([]byte("ID=debian\nVERSION_ID=\"12\"\n"))
	f.Add([]byte("# comment\nID='alpine'\n\nVERSION_ID=3.18.4"))
	f.Add([]byte("ID\n=\nID=="))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r := parseRelease(text); !bytes.Contains(text, []byte(r.ID)) || !bytes.Contains(text, []byte(r.Version)) {
			t.Errorf("%+v is not in %q", r, text)
		}
	})
}

func TestOfManyFilesNotAllAreKept(t *testing.T) {
	o := observer{seen: seen{Files: map[string]kind{}}}
	for n := range maxSeen + 10 {
		o.mark(string(rune('a'+n%26))+string(rune(n)), program)
	}
	if len(o.seen.Files) != maxSeen || !o.seen.Full {
		t.Errorf("got %d files, full %t, want %d and true", len(o.seen.Files), o.seen.Full, maxSeen)
	}
}

func TestUpperLayersHideLowerOnes(t *testing.T) {
	lower := seen{
		Files:    map[string]kind{"a/one": program, "a/two": program, "ab": program, "var/lib/dpkg": trace},
		Releases: map[string]release{"etc/os-release": {ID: "x"}},
	}
	for what, c := range map[string]struct {
		upper    seen
		want     []string
		releases int
	}{
		"nothing":             {seen{}, []string{"a/one", "a/two", "ab"}, 1},
		"one file":            {seen{Removed: []string{"a/one"}}, []string{"a/two", "ab"}, 1},
		"a directory":         {seen{Removed: []string{"a"}}, []string{"ab"}, 1},
		"what is in it":       {seen{Emptied: []string{"a"}}, []string{"ab"}, 1},
		"all":                 {seen{Emptied: []string{"."}}, nil, 0},
		"a directory anew":    {seen{Emptied: []string{"a"}, Files: map[string]kind{"a/three": program}}, []string{"a/three", "ab"}, 1},
		"the distribution":    {seen{Removed: []string{"etc/os-release"}}, []string{"a/one", "a/two", "ab"}, 0},
		"a package manager's": {seen{Removed: []string{"var/lib/dpkg"}}, []string{"a/one", "a/two", "ab"}, 1},
	} {
		t.Run(what, func(t *testing.T) {
			all := merge([]seen{lower, c.upper})
			if got := all.of(program); !slices.Equal(got, c.want) {
				t.Errorf("programs: got %q, want %q", got, c.want)
			}
			if len(all.Releases) != c.releases {
				t.Errorf("releases: got %d, want %d", len(all.Releases), c.releases)
			}
			if got := all.of(trace); len(got) != 1 {
				t.Errorf("traces: got %q, want the one that is never hidden", got)
			}
		})
	}
}

func TestTheObserverStopsAtTheLimit(t *testing.T) {
	archive, err := trivytest.Archive(trivytest.Text("a", ""), trivytest.Text("b", ""))
	if err != nil {
		t.Fatal(err)
	}
	o := observe(&budget{limits: Limits{Entries: 1}})
	defer o.stop()
	_ = o.write(archive)
	var refused *unscannableError
	if _, err := o.result(); !errors.As(err, &refused) {
		t.Errorf("got %v, want that it is unscannable", err)
	}
}
