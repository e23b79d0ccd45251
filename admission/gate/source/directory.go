package source

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tree is what a directory holds, before anything is read.
type tree struct {
	charts         []string
	kustomizations []string
	files          []string
	unread         []string // directories that are not read, each with a Skip
}

// directory reads a directory and all below it. A chart is rendered as one thing.
// A kustomization that another one of the directory builds upon is rendered as a
// part of that, not alone; manifests that a kustomization reads are not read again.
func (l *reading) directory(ctx context.Context, root string) error {
	var found tree
	if err := l.walk(ctx, root, root, 0, &found); err != nil {
		return err
	}
	for _, chart := range found.charts {
		if err := l.chart(ctx, chart); err != nil {
			return err
		}
	}
	for _, kustomization := range l.tops(found.kustomizations) {
		if err := l.kustomization(ctx, kustomization); err != nil {
			return err
		}
	}
	for _, file := range found.files {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		if l.used[absolute(file)] {
			continue
		}
		if slices.Contains(found.kustomizations, filepath.Dir(file)) {
			l.skip(file, "the kustomization beside it does not use it")
			l.Skipped[len(l.Skipped)-1].Manifest = l.looksLikeManifest(file)
			continue
		}
		if err := l.file(file, true); err != nil {
			return err
		}
	}
	for _, dir := range found.unread {
		l.markSkipped(dir)
	}
	return nil
}

// markSkipped tells of a directory that was passed over whether there are manifests in
// it. Only at the end is it known which of them were read after all.
func (l *reading) markSkipped(dir string) {
	for i := range l.Skipped {
		if skip := &l.Skipped[i]; skip.File == filepath.ToSlash(dir) {
			skip.Manifest = l.holdsManifest(dir)
		}
	}
}

// walk sorts what a directory holds into found, in order of the names.
func (l *reading) walk(ctx context.Context, root, dir string, depth int, found *tree) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	if depth > maxDepth {
		return fmt.Errorf("reading %s: more than %d directories below each other: name the directory you mean", dir, maxDepth)
	}
	if isChart(dir) {
		found.charts = append(found.charts, dir)
		return nil
	}
	if kustomizationIn(dir) != "" {
		found.kustomizations = append(found.kustomizations, dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.problem(Location{File: filepath.ToSlash(dir)}, fmt.Sprintf("listing it: %v: make it readable", cause(err)))
		return nil
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		glob, excluded := l.excludedBy(root, path)
		switch {
		case excluded:
			l.skip(path, "--exclude "+glob)
		case entry.Type()&fs.ModeSymlink != 0:
			l.link(root, path, found)
		case entry.IsDir():
			if strings.HasPrefix(entry.Name(), ".") {
				l.skip(path, "hidden directories are not read: name it to read it")
				found.unread = append(found.unread, path)
				continue
			}
			if err := l.walk(ctx, root, path, depth+1, found); err != nil {
				return err
			}
		case isKustomizationFile(path):
		case isManifestFile(path) && entry.Type().IsRegular():
			found.files = append(found.files, path)
		case isArchive(path) && entry.Type().IsRegular():
			found.charts = append(found.charts, path)
		}
		if len(found.files) > maxFiles {
			return fmt.Errorf("reading %s: more than %d files: name a smaller directory", root, maxFiles)
		}
	}
	return nil
}

// link follows a symbolic link to a manifest or chart below the directory the user named,
// as ConfigMap volumes have them. Others could lead anywhere, or in circles: where one
// leads out of the directory, nobody else judges what is there.
func (l *reading) link(root, path string, found *tree) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		if isManifestFile(path) || isArchive(path) {
			l.problem(Location{File: filepath.ToSlash(path)}, fmt.Sprintf("following the symbolic link: %v: mend or remove it", cause(err)))
		}
		return
	}
	info, err := os.Stat(target)
	switch {
	case err != nil:
		l.problem(Location{File: filepath.ToSlash(path)}, fmt.Sprintf("following the symbolic link: %v: mend or remove it", cause(err)))
	case info.IsDir() && (within(root, target) || !l.holdsManifest(target)):
		l.skip(path, "symbolic links to directories are not followed: name its target to read it")
	case info.IsDir() || (isManifestFile(path) || isArchive(path)) && info.Mode().IsRegular() && !within(root, target):
		l.problem(Location{File: filepath.ToSlash(path)}, fmt.Sprintf("the symbolic link leads out of %[1]s, so nothing was decided about what it names: name its target beside %[1]s, or put a copy in its place", filepath.ToSlash(root)))
	case !info.Mode().IsRegular():
	case isArchive(path):
		found.charts = append(found.charts, path)
	case isManifestFile(path):
		found.files = append(found.files, path)
	}
}

// within says that a path, without symbolic links, lies below root.
func within(root, path string) bool {
	real, err := filepath.EvalSymlinks(absolute(root))
	if err != nil {
		return false
	}
	relative, err := filepath.Rel(real, absolute(path))
	return err == nil && filepath.IsLocal(relative)
}

// absolute is a path that can be compared; as it is where there is no working directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func isManifestFile(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
