package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxPacked is how many bytes of an archive are read, compressed and uncompressed alike: all that a tree may hold, twice,
// for headers and hidden files. What a compression ratio can do is bounded by it.
const MaxPacked = 2 * MaxBytes

// endOfArchive is how many zero bytes a tar archive ends with (POSIX.1-2017, pax, "ustar Interchange Format").
const endOfArchive = 1024

// Unpack reads a tree from a tar archive, compressed with gzip or not, in bounded memory. Names may start with "./" or,
// as "opa build" writes them, with "/". Refused are names that lead elsewhere, links, devices, a name that is there
// twice, what is over the limits, and an archive that is cut short or has something behind its end.
func Unpack(r io.Reader) (*Tree, error) {
	files, err := unpack(r)
	if err != nil {
		return nil, fmt.Errorf("unpacking the bundle: %w", err)
	}
	tree, err := New(files)
	if err != nil {
		return nil, fmt.Errorf("unpacking the bundle: %w", err)
	}
	return tree, nil
}

func unpack(r io.Reader) (map[string][]byte, error) {
	stream, err := open(r)
	if err != nil {
		return nil, err
	}
	u := unpacker{files: map[string][]byte{}}
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return u.files, stream.finish()
		}
		if err != nil {
			return nil, damaged(err)
		}
		if err := u.add(header, archive); err != nil {
			return nil, err
		}
	}
}

// damaged says what to do about an archive that cannot be read.
func damaged(err error) error {
	if errors.Is(err, errTooMuchPacked) {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the archive is cut short: fetch it again, or make it anew: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("it is no tar archive, compressed with gzip or not: %w: make it anew", err)
}

// unpacker collects the files of an archive.
type unpacker struct {
	files   map[string][]byte
	total   int
	entries int
}

func (u *unpacker) add(header *tar.Header, content io.Reader) error {
	if u.entries++; u.entries > maxEntries {
		return fmt.Errorf("the archive has more than %d entries, hidden ones counted: make two bundles of it", maxEntries)
	}
	if header.Typeflag == tar.TypeXGlobalHeader { // "git archive" writes one
		return nil
	}
	name, root := normalise(header)
	if root {
		return nil
	}
	if err := CheckName(name); err != nil {
		return err
	}
	switch {
	case Hidden(name), header.Typeflag == tar.TypeDir:
		return nil
	case header.Typeflag != tar.TypeReg:
		return irregular(name)
	case header.Size > MaxFile:
		return tooLarge(name)
	}
	if _, twice := u.files[name]; twice {
		return fmt.Errorf("%s is there twice: make the archive anew", name)
	}
	if len(u.files) == MaxFiles || u.total+int(header.Size) > MaxBytes {
		return errTooMuch
	}
	data, err := io.ReadAll(content)
	if err != nil {
		return damaged(err)
	}
	u.total += len(data)
	u.files[name] = data
	return nil
}

// normalise takes off what archivers put in front of a name. root says that it is the folder of the bundle itself.
func normalise(header *tar.Header) (name string, root bool) {
	name = header.Name
	if rest, ok := strings.CutPrefix(name, "./"); ok {
		name = rest
	} else {
		name = strings.TrimPrefix(name, "/")
	}
	if header.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
		return name, name == "" || name == "."
	}
	return name, false
}

// stream is an archive, uncompressed, with what is needed to tell its end.
type stream struct {
	from io.Reader
	// tail are its last bytes.
	tail []byte
}

// open looks whether the archive is compressed.
func open(r io.Reader) (*stream, error) {
	packed := bufio.NewReader(&bounded{from: r, left: MaxPacked})
	head, err := packed.Peek(2)
	if err == io.EOF {
		return nil, damaged(io.ErrUnexpectedEOF)
	}
	if err != nil {
		return nil, err
	}
	if head[0] != 0x1f || head[1] != 0x8b {
		return &stream{from: packed}, nil
	}
	uncompressed, err := gzip.NewReader(packed)
	if err != nil {
		return nil, damaged(err)
	}
	return &stream{from: &bounded{from: uncompressed, left: MaxPacked}}, nil
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if n >= endOfArchive {
		s.tail = append(s.tail[:0], p[n-endOfArchive:n]...)
		return n, err
	}
	s.tail = append(s.tail, p[:n]...)
	s.tail = s.tail[max(0, len(s.tail)-endOfArchive):]
	return n, err
}

// finish reads what is behind the end, where archivers pad with zero bytes. An archive without its end is cut short, which
// the format itself does not tell from a shorter one.
func (s *stream) finish() error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := s.Read(buffer)
		if len(bytes.Trim(buffer[:n], "\x00")) > 0 {
			return errors.New("there is something behind the end of the archive: make it anew")
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return damaged(err)
		}
	}
	if len(s.tail) < endOfArchive || len(bytes.Trim(s.tail, "\x00")) > 0 {
		return damaged(io.ErrUnexpectedEOF)
	}
	return nil
}

var errTooMuchPacked = fmt.Errorf("the archive has more than %d bytes, which is the limit: make two bundles of it", MaxPacked)

// bounded is a reader that fails behind its limit, unlike [io.LimitedReader], which ends there.
type bounded struct {
	from io.Reader
	left int64
}

// Read implements [io.Reader].
func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.from.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooMuchPacked
	}
	return n, err
}
