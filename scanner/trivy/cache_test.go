//go:build goexperiment.jsonv2

package trivy_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/trivy"
	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
)

// files are those of a directory.
func files(t testing.TB, directory string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(directory, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// reads counts how often layers of an image are opened.
type reads struct {
	v1.Image
	count atomic.Int64
}

type countedLayer struct {
	v1.Layer
	reads *reads
}

func (r *reads) LayerByDigest(hash v1.Hash) (v1.Layer, error) {
	l, err := r.Image.LayerByDigest(hash)
	return countedLayer{l, r}, err
}

func (l countedLayer) Compressed() (io.ReadCloser, error) {
	l.reads.count.Add(1)
	return l.Layer.Compressed()
}

func TestANewDatabaseIsAskedWithoutReadingLayers(t *testing.T) {
	i := &reads{Image: image(t, trivytest.Debian("12.5", badPackage), []trivytest.Entry{trivytest.NPM("lodash", "4.17.20")})}
	o := options(t, badAdvisory, npmAdvisory)
	o.Cache = t.TempDir()
	first := analyse(t, i, o)
	if got := i.count.Load(); got != 2 {
		t.Errorf("layers read at first: got %d, want 2", got)
	}
	another := trivytest.Advisory{Source: "debian 12", Package: "openssl", ID: "CVE-2026-0002", Fixed: "3.0.21-1", Severity: "LOW"}
	if err := trivytest.Database(o.Database, badAdvisory, npmAdvisory, another); err != nil {
		t.Fatal(err)
	}
	second := analyse(t, i, o)
	if got := i.count.Load(); got != 2 {
		t.Errorf("layers read after the update: got %d more, want none", got-2)
	}
	equal(t, "vulnerabilities", found(second.Report), []string{"CVE-2021-23337 lodash 4.17.20", badFinding, "CVE-2026-0002 libssl3 3.0.17-1"})
	if !bytes.Equal(first.CycloneDX, second.CycloneDX) || !bytes.Equal(first.SPDX, second.SPDX) {
		t.Error("the SBOM changed with the vulnerability database")
	}
	if second.Report.State != scanner.StateComplete {
		t.Errorf("state: got %s (%q), want complete", second.Report.State, second.Report.Reasons)
	}
}

func TestWhatWasWrongIsWrongAgainFromTheCache(t *testing.T) {
	jar, err := trivytest.JarFile("Main")
	if err != nil {
		t.Fatal(err)
	}
	for what, entry := range map[string]trivytest.Entry{
		"a file that cannot be parsed": trivytest.Text("app/node_modules/x/package.json", "{"),
		"a link":                       {Path: "lib/apk/db/installed", Symlink: "/x"},
		"a Java archive":               trivytest.Text("app.jar", string(jar)),
	} {
		t.Run(what, func(t *testing.T) {
			i := image(t, append(trivytest.Debian("12.5", badPackage), entry))
			o := options(t, badAdvisory, npmAdvisory)
			o.Cache = t.TempDir()
			first, second := analyse(t, i, o).Report, analyse(t, i, o).Report
			if first.State != scanner.StateUnscannable || len(first.Reasons) != 1 {
				t.Errorf("at first: got %s %q, want unscannable for one reason", first.State, first.Reasons)
			}
			equal(t, "reasons from the cache", second.Reasons, first.Reasons)
		})
	}
}

func TestAnImageCannotDecideWhatIsBelievedOfAnothersLayer(t *testing.T) {
	evil, err := trivytest.Archive(trivytest.Debian("12.5", trivytest.Package{Name: "libssl3", Version: "3.0.99-1", Source: "openssl"})...)
	if err != nil {
		t.Fatal(err)
	}
	victims, err := trivytest.Archive(trivytest.Debian("12.5", badPackage)...)
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, badAdvisory)
	o.Cache = t.TempDir()

	liar := packed(t, evil, victims, types.OCIUncompressedLayer)
	if _, err := trivy.Analyse(context.Background(), liar, o); err == nil {
		t.Error("an image that names another's layer for its own: got no error")
	}
	if kept := files(t, o.Cache); len(kept) > 0 {
		t.Errorf("the cache has %d layers of it, want none", len(kept))
	}
	victim := packed(t, victims, victims, types.OCIUncompressedLayer)
	equal(t, "vulnerabilities of the victim", found(analyse(t, victim, o).Report), []string{badFinding})

	// And the other way round: the victim's layer is known, the liar brings its own under the same name.
	if _, err := trivy.Analyse(context.Background(), liar, o); err == nil {
		t.Error("the liar after the victim: got no error")
	}
}

func TestADamagedCacheIsReadAnew(t *testing.T) {
	i := &reads{Image: image(t, trivytest.Debian("12.5", badPackage))}
	o := options(t, badAdvisory)
	o.Cache = t.TempDir()
	analyse(t, i, o)
	for name, content := range files(t, o.Cache) {
		if err := os.WriteFile(name, []byte(content[:len(content)/2]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "vulnerabilities", found(analyse(t, i, o).Report), []string{badFinding})
	if got := i.count.Load(); got != 2 {
		t.Errorf("layers read: got %d, want 2", got)
	}
}

func TestTheCacheKeepsToItsSize(t *testing.T) {
	o := options(t, badAdvisory, npmAdvisory)
	o.Cache, o.CacheSize = t.TempDir(), 4000
	for _, version := range []string{"1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.0.5"} {
		analyse(t, image(t, []trivytest.Entry{trivytest.NPM("lodash", version)}), o)
	}
	size, kept := 0, files(t, o.Cache)
	for name, content := range kept {
		size += len(content)
		if !strings.HasSuffix(name, ".json") {
			t.Errorf("the file %s was left behind", name)
		}
	}
	if size > 4000 || len(kept) == 0 {
		t.Errorf("got %d files of %d bytes, want some of at most 4000", len(kept), size)
	}
}
