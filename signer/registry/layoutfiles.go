package registry

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

const (
	// maxFiles of an archive: a blob each.
	maxFiles = 20000
	// maxLinks in a row; "docker save" makes one where images share layers.
	maxLinks = 4
)

// openFiles opens a directory or archive.
func openFiles(name string, limit int64) (files, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		return directory{root}, nil
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is neither a directory nor a file")
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	a, err := openArchive(file, limit)
	if err != nil {
		file.Close()
		return nil, err
	}
	return a, nil
}

// directory keeps within a directory, whatever links are in it ([os.Root]).
type directory struct{ root *os.Root }

func (d directory) Close() error { return d.root.Close() }

func (d directory) open(name string) (io.ReadCloser, int64, error) {
	// A pipe or device would block; a link is nothing that a layout has.
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no regular file", name)
	}
	file, err := d.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	if info, err = file.Stat(); err != nil || !info.Mode().IsRegular() {
		file.Close()
		return nil, 0, fmt.Errorf("%s is no regular file", name)
	}
	return file, info.Size(), nil
}

// archive reads files of a tar archive at their offsets. One that is compressed is
// unpacked to a temporary file first.
type archive struct {
	file *os.File
	// temporary is removed with the archive.
	temporary bool
	members   map[string]member
	links     map[string]string
}

type member struct{ offset, size int64 }

func openArchive(file *os.File, limit int64) (*archive, error) {
	a := &archive{file: file, members: map[string]member{}, links: map[string]string{}}
	head, err := bufio.NewReader(io.NewSectionReader(file, 0, 2)).Peek(2)
	if err == nil && head[0] == 0x1f && head[1] == 0x8b {
		if a.file, err = unpack(file, limit); err != nil {
			return nil, err
		}
		a.temporary = true
		file.Close()
	}
	if err := a.list(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// unpack writes a gzip stream to a temporary file, within a limit.
func unpack(file io.Reader, limit int64) (*os.File, error) {
	stream, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	temporary, err := os.CreateTemp("", "layout-*.tar")
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(temporary, io.LimitReader(stream, limit+1))
	if err == nil && n > limit {
		err = &tooLarge{name: "the archive unpacked", limit: limit}
	}
	if err == nil {
		_, err = temporary.Seek(0, io.SeekStart)
	}
	if err != nil {
		temporary.Close()
		os.Remove(temporary.Name())
		return nil, err
	}
	return temporary, nil
}

// list reads the headers. A name that is there twice is two things to two readers, and refused.
func (a *archive) list() error {
	reader := tar.NewReader(a.file)
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is neither a directory nor a tar archive: %w", err)
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		name := path.Clean(header.Name)
		if !fs.ValidPath(name) {
			return fmt.Errorf("the archive has the file %s, which lies outside of it", printable(header.Name))
		}
		_, file := a.members[name]
		_, link := a.links[name]
		if file || link {
			return fmt.Errorf("the archive has the file %s twice", printable(name))
		}
		if len(a.members)+len(a.links) >= maxFiles {
			return fmt.Errorf("the archive has more than %d files, which is the limit", maxFiles)
		}
		if err := a.add(name, header); err != nil {
			return err
		}
	}
}

func (a *archive) add(name string, header *tar.Header) error {
	switch header.Typeflag {
	case tar.TypeSymlink:
		a.links[name] = path.Join(path.Dir(name), header.Linkname)
		return nil
	case tar.TypeLink:
		a.links[name] = path.Clean(header.Linkname)
		return nil
	case tar.TypeReg:
	default:
		return fmt.Errorf("the archive has %s, which is no regular file", printable(name))
	}
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return fmt.Errorf("the archive has the sparse file %s", printable(name))
		}
	}
	offset, err := a.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	a.members[name] = member{offset: offset, size: header.Size}
	return nil
}

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	name = path.Clean(name)
	for range maxLinks {
		to, ok := a.links[name]
		if !ok {
			break
		}
		name = to
	}
	m, ok := a.members[name]
	if !ok {
		return nil, 0, fmt.Errorf("the archive has no file %s: %w", printable(name), fs.ErrNotExist)
	}
	return io.NopCloser(io.NewSectionReader(a.file, m.offset, m.size)), m.size, nil
}

func (a *archive) Close() error {
	err := a.file.Close()
	if a.temporary {
		err = errors.Join(err, os.Remove(a.file.Name()))
	}
	return err
}
