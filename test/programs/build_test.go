package programs_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/portcullis-dev/portcullis/test/binary"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// Eight packages of tests need programs; linking one takes seconds.
func TestAProgramThatIsUpToDateIsNotLinkedAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("it links a program")
	}
	const name = "portcullis-console" // the smallest
	linked := func() os.FileInfo {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "bin")
		if err := programs.Build(t.Context(), dir, name); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode()&0o111 == 0 {
			t.Fatalf("got %v, %v: want a program", info, err)
		}
		cache, err := binary.CacheDir()
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.Stat(filepath.Join(cache, "programs", name))
		if err != nil {
			t.Fatal(err)
		}
		return kept
	}
	if first, again := linked(), linked(); !os.SameFile(first, again) {
		t.Errorf("got files of %v and %v, want the same one", first.ModTime(), again.ModTime())
	}
}
