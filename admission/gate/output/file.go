package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// newReport is the mode of a report that was not there before: readable for everybody.
const newReport = 0o644

// File is a report on disk that appears whole or not at all: a reader never sees
// half a report, and a failed run leaves the last one in place. What is no regular
// file, such as a pipe or /dev/stdout, is written to as it is and never replaced.
type File struct {
	*os.File
	name string
	// flag is where the user named it.
	flag string
	// target is the regular file that a whole report replaces; "" where the report is
	// written straight through.
	target string
	mode   fs.FileMode
}

// Create begins a report that is going to be called name. flag is the one that the user
// named it with, as "--output", for messages.
func Create(name, flag string) (*File, error) {
	f, err := create(name)
	if err != nil {
		return nil, fmt.Errorf("creating the report %s: %w: check %s", name, underlying(err), flag)
	}
	f.flag = flag
	return f, nil
}

func create(name string) (*File, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, dangling := os.Readlink(name); dangling == nil {
			return through(name, os.O_CREATE)
		}
		return replacing(name, name, newReport)
	}
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("it is a directory")
	case !info.Mode().IsRegular() || isStandardStream(info):
		return through(name, 0)
	}
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	return replacing(name, target, info.Mode().Perm())
}

// isStandardStream says that the shell has the file open for our output: by another
// file in its place it would go on writing to one that nobody sees.
func isStandardStream(info fs.FileInfo) bool {
	for _, stream := range []*os.File{os.Stdout, os.Stderr} {
		if open, err := stream.Stat(); err == nil && os.SameFile(info, open) {
			return true
		}
	}
	return false
}

// through writes straight to what is there, after anything that others wrote.
func through(name string, flag int) (*File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|flag, newReport)
	if err != nil {
		return nil, err
	}
	return &File{File: f, name: name}, nil
}

// replacing writes beside the target, which [File.Commit] replaces.
func replacing(name, target string, mode fs.FileMode) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*")
	if err != nil {
		return nil, err
	}
	return &File{File: f, name: name, target: target, mode: mode}, nil
}

// Commit makes the report visible.
func (f *File) Commit() error {
	var err error
	if f.target == "" {
		err = f.Close()
	} else if err = errors.Join(f.Chmod(f.mode), f.Close()); err == nil {
		err = os.Rename(f.File.Name(), f.target)
	}
	if err != nil {
		return fmt.Errorf("writing the report %s: %w: check %s", f.name, errors.Join(underlying(err), f.remove()), f.flag)
	}
	return nil
}

// Discard drops the report, except what was written straight through.
func (f *File) Discard() error {
	return errors.Join(f.Close(), f.remove())
}

func (f *File) remove() error {
	if f.target == "" {
		return nil
	}
	return os.Remove(f.File.Name())
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
