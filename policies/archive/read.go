package archive

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// maxEntries is how many files and folders are looked at, hidden ones among them.
const maxEntries = 4 * MaxFiles

// Read reads a tree of all regular files of a file system but the hidden ones. Links and devices are refused: a link
// would make the tree depend on what is outside of it.
func Read(fsys fs.FS) (*Tree, error) {
	r := reader{fsys: fsys, files: map[string][]byte{}}
	err := fs.WalkDir(fsys, ".", r.visit)
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	tree, err := New(r.files)
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	return tree, nil
}

type reader struct {
	fsys    fs.FS
	files   map[string][]byte
	total   int
	entries int
}

func (r *reader) visit(name string, found fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if r.entries++; r.entries > maxEntries {
		return fmt.Errorf("there are more than %d files and folders, hidden ones counted: make two bundles of it", maxEntries)
	}
	if name == "." {
		return nil
	}
	if strings.HasPrefix(path.Base(name), ".") {
		if found.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if err := CheckName(name); err != nil {
		return err
	}
	if found.IsDir() {
		return nil
	}
	if !found.Type().IsRegular() {
		return irregular(name)
	}
	content, err := r.content(name)
	if err != nil {
		return err
	}
	if r.total += len(content); r.total > MaxBytes || len(r.files) == MaxFiles {
		return errTooMuch
	}
	r.files[name] = content
	return nil
}

// content reads a file that may grow or be replaced meanwhile.
func (r *reader) content(name string) ([]byte, error) {
	file, err := r.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, irregular(name)
	}
	content, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > MaxFile {
		return nil, tooLarge(name)
	}
	return content, nil
}

func irregular(name string) error {
	return fmt.Errorf("%s is a link or a device, which a bundle does not hold: replace it by a file", name)
}
