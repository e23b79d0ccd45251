package output

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// File is a report on disk that appears whole or not at all: a reader never sees
// half a report, and a failed run leaves the last one in place.
type File struct {
	*os.File
	name string
}

// Create begins a report that is going to be called name.
func Create(name string) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return nil, fmt.Errorf("creating the report %s: %w: check --output", name, underlying(err))
	}
	return &File{File: f, name: name}, nil
}

// Commit makes the report visible, readable for everybody as other reports are.
func (f *File) Commit() error {
	err := errors.Join(f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.File.Name(), f.name)
	}
	if err != nil {
		return fmt.Errorf("writing the report %s: %w: check --output", f.name, errors.Join(underlying(err), os.Remove(f.File.Name())))
	}
	return nil
}

// Discard drops the report.
func (f *File) Discard() error {
	return errors.Join(f.Close(), os.Remove(f.File.Name()))
}

// underlying is an error without the name of the temporary file.
func underlying(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
