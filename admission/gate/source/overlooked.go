package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/portcullis-dev/portcullis/admission/manifest"
)

// maxOverlooked is how many entries of a directory that is not read are looked at for
// manifests. One with more is taken to have some.
const maxOverlooked = 20_000

// errFound ends a walk.
var errFound = errors.New("found")

// holdsManifest says that something below a directory that is not read looks like a
// manifest. Files that were read by another name, as ConfigMap volumes have them, or by a
// kustomization do not count. In doubt it is true.
func (l *reading) holdsManifest(dir string) bool {
	entries := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		entries++
		switch {
		case err != nil || entries > maxOverlooked:
			return errFound
		case entry.IsDir() && (isChart(path) || kustomizationIn(path) != "" && !l.used[absolute(kustomizationIn(path))]):
			return errFound
		case entry.Type().IsRegular() && (isArchive(path) || isManifestFile(path)) && !l.read[real(path)] && !l.used[absolute(path)] && l.looksLikeManifest(path):
			return errFound
		}
		return nil
	})
	return err != nil
}

// looksLikeManifest says that kubectl would find an object in a file. A chart's archive
// and what cannot be read count, since nobody knows.
func (l *reading) looksLikeManifest(path string) bool {
	if isArchive(path) {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	aside := &reading{options: l.options}
	documents, err := manifest.Read(path, f, l.options.Limits)
	aside.readProblems(path, err, true)
	return len(aside.Problems) > 0 || slices.ContainsFunc(documents, func(document manifest.Document) bool {
		return (document.Kind != "" || document.APIVersion != "") && !clientSide(document)
	})
}

// real is a path without symbolic links, as it is where that cannot be told.
func real(path string) string {
	if resolved, err := filepath.EvalSymlinks(absolute(path)); err == nil {
		return resolved
	}
	return absolute(path)
}
