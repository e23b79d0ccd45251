//go:build goexperiment.jsonv2

package trivy

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := Cleanup(); err != nil {
		panic(err)
	}
	os.Exit(code)
}

func goList(t *testing.T, format string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", format, "github.com/aquasecurity/trivy").Output()
	if err != nil {
		t.Fatalf("asking for Trivy's module: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func TestTheVersionIsThatOfTheModule(t *testing.T) {
	if got, want := Version, strings.TrimPrefix(goList(t, "{{.Version}}"), "v"); got != want {
		t.Errorf("Version is %s, go.mod has %s: read the sources that comments of this package name again", got, want)
	}
}

func TestEachSayingIsOneOfTrivys(t *testing.T) {
	missing := map[string]bool{strconv.Quote(skipping): true}
	for message := range sayings {
		missing[strconv.Quote(message)] = true
	}
	err := filepath.WalkDir(filepath.Join(goList(t, "{{.Dir}}"), "pkg"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for quoted := range missing {
			if bytes.Contains(content, []byte(quoted)) {
				delete(missing, quoted)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for quoted := range missing {
		t.Errorf("Trivy no longer logs %s: find out what it does instead, or its failures go unnoticed", quoted)
	}
}

func TestTheLoggerOfTheProcessComesBack(t *testing.T) {
	var out bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	mine := slog.New(slog.NewTextHandler(&out, nil))
	slog.SetDefault(mine)
	heard, stop := listen()
	slog.With("prefix", "analyzer").Debug("Analysis error", "err", "bad \x1b[31mfile")
	slog.Info("something else")
	stop()
	if slog.Default() != mine {
		t.Error("the default logger is another than before")
	}
	if got := heard.sorted(); len(got) != 1 || got[0] != "a file could not be parsed: bad  [31mfile" {
		t.Errorf("heard: got %q, want one complaint without control characters", got)
	}
	if out.Len() > 0 {
		t.Errorf("the program's log has %q of Trivy", out.String())
	}
}

func TestPackagesOfOtherVendorsAreCountedAndNoComplaint(t *testing.T) {
	heard, stop := listen()
	defer stop()
	slog.Default().Debug(skipping, "packages", []string{"docker-ce", "nginx"})
	slog.Default().Debug(skipping, "packages", []string{"docker-ce"})
	if got := heard.skipped(); got != 3 {
		t.Errorf("got %d packages, want 3", got)
	}
	if got := heard.sorted(); len(got) > 0 {
		t.Errorf("got the complaints %q, want none", got)
	}
	slog.Default().Debug(skipping, "packages", "docker-ce")
	if got := heard.sorted(); len(got) != 1 || got[0] != "packages that are not the distribution's were not looked up, and the scanner does not say which" {
		t.Errorf("got the complaints %q, want one about a message without a list", got)
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	heard, stop := listen()
	defer stop()
	for n := range 3 * maxReasons {
		slog.Default().Log(context.Background(), slog.LevelDebug, "Walk error", "file_path", strconv.Itoa(n), "err", strings.Repeat("x", 10_000))
	}
	reasons := heard.sorted()
	if len(reasons) != maxReasons || len(reasons[0]) > 600 {
		t.Errorf("got %d reasons of %d bytes, want %d short ones", len(reasons), len(reasons[0]), maxReasons)
	}
}
