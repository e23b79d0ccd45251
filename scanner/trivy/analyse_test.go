//go:build goexperiment.jsonv2

package trivy_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/trivy"
	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
)

var now = time.Date(2026, 8, 2, 10, 0, 0, 0, time.UTC)

// options are those of a test with a database of these advisories.
func options(t testing.TB, advisories ...trivytest.Advisory) trivy.Options {
	t.Helper()
	directory := t.TempDir()
	if err := trivytest.Database(directory, advisories...); err != nil {
		t.Fatal(err)
	}
	return trivy.Options{Database: directory, Now: func() time.Time { return now }}
}

func image(t testing.TB, layers ...[]trivytest.Entry) v1.Image {
	t.Helper()
	i, err := trivytest.Image(layers...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func analyse(t testing.TB, i v1.Image, o trivy.Options) trivy.Result {
	t.Helper()
	result, err := trivy.Analyse(context.Background(), i, o)
	if err != nil {
		t.Fatalf("analysing: %v", err)
	}
	return result
}

// found are the vulnerabilities of a report, as "ID package version".
func found(report scanner.Report) []string {
	list := []string{}
	for _, v := range report.Vulnerabilities {
		list = append(list, v.ID+" "+v.Package+" "+v.Version)
	}
	return list
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

// module is the directory of a module that the project depends on.
func module(t testing.TB, path string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		t.Fatalf("locating the module %s: %v", path, err)
	}
	return strings.TrimSpace(string(out))
}

// realImage is one of the images in Trivy's module.
func realImage(t testing.TB, name string) v1.Image {
	t.Helper()
	packed := filepath.Join(module(t, "github.com/aquasecurity/trivy"), "pkg/fanal/test/testdata", name)
	unpacked := filepath.Join(t.TempDir(), "image.tar")
	out, err := os.Create(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	gunzip := exec.Command("gzip", "-dc", packed)
	gunzip.Stdout = out
	if err := gunzip.Run(); err != nil {
		t.Fatalf("unpacking %s: %v", packed, err)
	}
	i, err := tarball.ImageFromPath(unpacked, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}
