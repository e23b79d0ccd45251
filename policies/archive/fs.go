package archive

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"time"
)

// FS is the tree as a file system: files of mode 0444 and folders, without times.
func (t *Tree) FS() fs.FS { return fileSystem{t} }

type fileSystem struct{ tree *Tree }

// entry is a file or a folder, as [fs.DirEntry] and [fs.FileInfo].
type entry struct {
	name   string
	size   int64
	folder bool
}

func (e entry) Name() string               { return e.name }
func (e entry) IsDir() bool                { return e.folder }
func (e entry) Type() fs.FileMode          { return e.Mode().Type() }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) Size() int64                { return e.size }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) Sys() any                   { return nil }

func (e entry) Mode() fs.FileMode {
	if e.folder {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// Open implements [fs.FS].
func (f fileSystem) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if content, ok := f.tree.contents[name]; ok {
		return &openFile{entry: entry{name: path.Base(name), size: int64(len(content))}, Reader: bytes.NewReader(content)}, nil
	}
	if entries, ok := f.tree.folders[name]; ok {
		return &openFolder{entry: entry{name: path.Base(name), folder: true}, left: entries}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadFile implements [fs.ReadFileFS].
func (f fileSystem) ReadFile(name string) ([]byte, error) {
	if content, ok := f.tree.contents[name]; ok {
		return bytes.Clone(content), nil
	}
	err := fs.ErrNotExist
	if _, folder := f.tree.folders[name]; folder || !fs.ValidPath(name) {
		err = fs.ErrInvalid
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: err}
}

// openFile is a file that is being read.
type openFile struct {
	entry
	*bytes.Reader
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.entry, nil }
func (o *openFile) Close() error               { return nil }

// Size is that of the entry: both embedded types have one.
func (o *openFile) Size() int64 { return o.entry.size }

// openFolder is a folder that is being listed.
type openFolder struct {
	entry
	left []entry
}

func (o *openFolder) Stat() (fs.FileInfo, error) { return o.entry, nil }
func (o *openFolder) Close() error               { return nil }

func (o *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.name, Err: fs.ErrInvalid}
}

// ReadDir implements [fs.ReadDirFile].
func (o *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	count := len(o.left)
	if n > 0 {
		if count == 0 {
			return nil, io.EOF
		}
		count = min(count, n)
	}
	list := make([]fs.DirEntry, count)
	for i := range list {
		list[i] = o.left[i]
	}
	o.left = o.left[count:]
	return list, nil
}
