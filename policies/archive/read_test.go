package archive_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/policies/archive"
)

// write makes a folder with files.
func write(t *testing.T, files map[string][]byte, mode os.FileMode) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		file := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, mode); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestAFolderHasTheDigestOfItsFilesWhateverTheirModeAndTime(t *testing.T) {
	want := newTree(t, sample()).Digest()
	for _, mode := range []os.FileMode{0o644, 0o755, 0o400} {
		folder := write(t, sample(), mode)
		if err := os.Chtimes(filepath.Join(folder, "bundle.yaml"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		for _, hidden := range []string{".git", "pods/.cache"} {
			if err := os.MkdirAll(filepath.Join(folder, hidden), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/etc/passwd", filepath.Join(folder, hidden, "link")); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(filepath.Join(folder, "empty"), 0o755); err != nil {
			t.Fatal(err)
		}
		tree, err := archive.Read(os.DirFS(folder))
		if err != nil {
			t.Fatal(err)
		}
		if tree.Digest() != want {
			t.Errorf("mode %v: got %s with %q, want %s", mode, tree.Digest(), tree.Names(), want)
		}
	}
}

func TestFoldersWithOtherThanFilesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(folder string) error
		want  string
	}{
		"a link to a file outside": {func(f string) error { return os.Symlink("/etc/passwd", filepath.Join(f, "x.yaml")) }, "x.yaml is a link or a device"},
		"a link to a file inside":  {func(f string) error { return os.Symlink("bundle.yaml", filepath.Join(f, "x.yaml")) }, "x.yaml is a link or a device"},
		"a link to a folder":       {func(f string) error { return os.Symlink("/etc", filepath.Join(f, "x")) }, "x is a link or a device"},
		"a link to nothing":        {func(f string) error { return os.Symlink("nowhere", filepath.Join(f, "x")) }, "x is a link or a device"},
		"a socket": {func(f string) error {
			listener, err := net.Listen("unix", filepath.Join(f, "s"))
			if err == nil {
				t.Cleanup(func() { listener.Close() })
			}
			return err
		}, "s is a link or a device"},
		"a file that is too large": {func(f string) error {
			return os.WriteFile(filepath.Join(f, "big"), make([]byte, archive.MaxFile+1), 0o600)
		}, "big has more than"},
		"a name with a line break": {func(f string) error { return os.WriteFile(filepath.Join(f, "a\nb"), nil, 0o600) }, "cannot be seen"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := write(t, map[string][]byte{"bundle.yaml": nil}, 0o600)
			if err := c.spoil(folder); err != nil {
				t.Fatal(err)
			}
			_, err := archive.Read(os.DirFS(folder))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "reading the bundle: ") {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestAFolderWithTooManyEntriesIsNotWalkedToItsEnd(t *testing.T) {
	files := fstest.MapFS{"bundle.yaml": {}}
	for i := range 4 * archive.MaxFiles {
		files[".cache"+strings.Repeat("x", i%7)+"/"+string(rune('a'+i%26))+time.Duration(i).String()] = &fstest.MapFile{}
		if i%2 == 0 {
			files[".h"+time.Duration(i).String()] = &fstest.MapFile{}
			files[".i"+time.Duration(i).String()] = &fstest.MapFile{}
		}
	}
	_, err := archive.Read(files)
	if err == nil || !strings.Contains(err.Error(), "more than 80000 files and folders") {
		t.Errorf("got %v, want an error about too many", err)
	}
}
