package output

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// write writes a report called name, as a run does.
func write(t *testing.T, name string) {
	t.Helper()
	f, err := Create(name, "--output")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(f, "report"); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func content(t *testing.T, name string) string {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestReportGoesThroughAPipeThatStaysOne(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	// Open for reading and writing, so that nobody waits for the other end.
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	write(t, pipe)
	if got := mode(t, pipe); got.Type() != fs.ModeNamedPipe {
		t.Fatalf("got the file mode %v, want that of the pipe", got)
	}
	got := make([]byte, len("report"))
	if _, err := io.ReadFull(reader, got); err != nil || string(got) != "report" {
		t.Errorf("got %q, %v from the pipe, want the report", got, err)
	}
}

func TestReportFollowsSymbolicLinks(t *testing.T) {
	for name, exists := range map[string]bool{"the link's target exists": true, "the link's target does not exist yet": false} {
		t.Run(name, func(t *testing.T) {
			dir, elsewhere := t.TempDir(), t.TempDir()
			link, target := filepath.Join(dir, "link"), filepath.Join(elsewhere, "target")
			if err := os.Symlink(target, link); err != nil {
				t.Fatal(err)
			}
			if exists {
				if err := os.WriteFile(target, []byte("a longer report of last time"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(t, link)
			if got := mode(t, link); got.Type() != fs.ModeSymlink {
				t.Errorf("got the file mode %v, want that of the link", got)
			}
			if got := content(t, target); got != "report" {
				t.Errorf("got %q behind the link, want the report", got)
			}
		})
	}
}

func TestReportKeepsTheModeOfTheLastOne(t *testing.T) {
	name := filepath.Join(t.TempDir(), "report")
	write(t, name)
	if got := mode(t, name); got != newReport {
		t.Errorf("got mode %v of a new report, want %v", got, fs.FileMode(newReport))
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, name)
	if got := mode(t, name); got != 0o600 {
		t.Errorf("got mode %v, want 0600 as before", got)
	}
}

func TestDiscardedReportLeavesTheLastOne(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "report")
	write(t, name)
	f, err := Create(name, "--output")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "half")
	if err := f.Discard(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, name); got != "report" {
		t.Errorf("got %q, want the report of last time", got)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v beside the report, want nothing", entries, err)
	}
}

func TestReportCannotBeADirectory(t *testing.T) {
	dir := t.TempDir()
	if f, err := Create(dir, "--output"); err == nil {
		t.Errorf("got the report %v, want an error", f.Name())
	}
}
