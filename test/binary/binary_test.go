package binary

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyAChangedSourceIsBuiltAgain(t *testing.T) {
	sources := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		file := filepath.Join(sources, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	digest := func() string {
		t.Helper()
		digest, err := sourceDigest(sources)
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	write("go.mod", "module x")
	write("go.sum", "")
	write("server/main.go", "package main")
	before := digest()
	if again := digest(); again != before {
		t.Errorf("the same sources: got %s and %s", before, again)
	}
	write("README.md", "no part of the binary")
	if got := digest(); got != before {
		t.Errorf("with another file that is not built: got %s, want %s", got, before)
	}
	for _, name := range []string{"server/main.go", "go.mod", "go.sum"} {
		write(name, "changed")
		after := digest()
		if after == before {
			t.Errorf("%s changed and the digest did not", name)
		}
		before = after
	}
}

func TestExperimentsOfTheCallerBuildNothingAnew(t *testing.T) {
	for version, want := range map[string]string{
		"go1.26.8":                               "go1.26.8",
		"go1.26.8-X:jsonv2":                      "go1.26.8",
		"go1.26.8 X:jsonv2,synctest":             "go1.26.8",
		"devel go1.27-ab12cd Mon Aug 3 X:jsonv2": "devel go1.27-ab12cd Mon Aug 3",
	} {
		if got := withoutExperiments(version); got != want {
			t.Errorf("%q: got %q, want %q", version, got, want)
		}
	}
}

func TestABinaryThatIsNamedAndMissingIsAnError(t *testing.T) {
	t.Setenv("PORTCULLIS_SOMETHING", filepath.Join(t.TempDir(), "missing"))
	if path, err := (Program{Title: "thing", Module: "thing", Variable: "PORTCULLIS_SOMETHING"}).Path(t.Context(), t.Output()); err == nil {
		t.Errorf("got %s, want an error", path)
	}
}
