// Package chart keeps charts/portcullis: it makes what of the chart follows from elsewhere (schema and README from the
// comments of values.yaml, definitions and roles from the packages that have them), renders it as Helm does, and tests
// what it renders to.
//
//	go test ./test/chart -update    # make all of it anew
package chart

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Dir is where the chart lies, seen from this package.
const Dir = "../../charts/portcullis"

// generators make files of the chart, by their names in it.
var generators = []func(dir string) (map[string][]byte, error){definitions, roles, guards, schemaFile, readmeFile}

// folders hold generated files only: whatever else is in them is left over.
var folders = []string{"files/definitions", "files/roles", "files/guards"}

// Generated are all files of the chart that are made, by their names in it.
func Generated(dir string) (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, generate := range generators {
		files, err := generate(dir)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, files)
	}
	return all, nil
}

// Write makes them, and removes what is left over.
func Write(dir string) error {
	all, err := Generated(dir)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := os.RemoveAll(filepath.Join(dir, folder)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, all[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Stale says how the chart differs from what is generated, nothing where it does not.
func Stale(dir string) ([]string, error) {
	all, err := Generated(dir)
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		found, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			stale = append(stale, name+" is missing")
		case err != nil:
			return nil, fmt.Errorf("reading the chart: %w", err)
		case string(found) != string(all[name]):
			stale = append(stale, name+" is not what it is made from")
		}
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading the chart: %w", err)
		}
		for _, entry := range entries {
			if name := path.Join(folder, entry.Name()); all[name] == nil {
				stale = append(stale, name+" is left over")
			}
		}
	}
	return stale, nil
}

// sentence puts lines of a comment together.
func sentence(lines []string) string { return strings.Join(lines, " ") }
