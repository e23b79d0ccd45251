package git

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// object is one of a pack.
type object struct {
	kind    plumbing.ObjectType
	content []byte
}

// objects are those of a pack by the hashes that were computed of them.
type objects map[plumbing.Hash]object

// entry is one of a pack, as it is packed (gitformat-pack).
type entry struct {
	object
	offset int64
	// resolved: kind and content are those of an object and not of a delta.
	resolved bool
}

// unpacker reads a pack within limits. Sizes are checked before there is memory for them.
type unpacker struct {
	limits  Limits
	left    int64 // bytes
	entries []entry
	// at finds entries by their place in the pack. What waits for a base is by the base's place or hash.
	at            map[int64]int
	waitsForPlace map[int64][]int
	waitsForHash  map[plumbing.Hash][]int
	found         objects
}

// unpack reads a pack of whole objects and deltas among them, and its checksum. A pack whose deltas have bases elsewhere (a
// thin pack) was not asked for.
func unpack(r io.Reader, limits Limits) (objects, error) {
	u := &unpacker{
		limits: limits, left: limits.Unpacked, at: map[int64]int{}, found: objects{},
		waitsForPlace: map[int64][]int{}, waitsForHash: map[plumbing.Hash][]int{},
	}
	scanner := packfile.NewScanner(r)
	_, count, err := scanner.Header()
	if err != nil {
		return nil, cut(err)
	}
	if int64(count) > int64(limits.Objects) {
		return nil, &tooMuch{what: "the commit", limit: fmt.Sprintf("%d files and folders", limits.Objects)}
	}
	for range count {
		if err := u.read(scanner); err != nil {
			return nil, cut(err)
		}
	}
	if _, err := scanner.Checksum(); err != nil {
		return nil, cut(err)
	}
	for i := range u.entries {
		if !u.entries[i].resolved {
			return nil, errors.New("the server has sent a difference to something that it has not sent: retry, or look at the server")
		}
	}
	return u.found, nil
}

// cut says what an end in the midst means.
func cut(err error) error {
	var limit *tooMuch
	switch {
	case errors.As(err, &limit):
		return limit
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, packfile.ErrEmptyPackfile):
		return errCut
	}
	return fmt.Errorf("what the server has sent is no pack: %w: retry, or look at the server", err)
}

// read takes the next entry.
func (u *unpacker) read(scanner *packfile.Scanner) error {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return err
	}
	if err := u.take(header.Length); err != nil {
		return err
	}
	const most = 1 << 20 // memory that a header alone may ask for
	content := bytes.NewBuffer(make([]byte, 0, min(header.Length, most)))
	written, _, err := scanner.NextObject(content)
	if err != nil {
		return err
	}
	if written != header.Length {
		return io.ErrUnexpectedEOF
	}
	index := len(u.entries)
	u.at[header.Offset] = index
	u.entries = append(u.entries, entry{object: object{kind: header.Type, content: content.Bytes()}, offset: header.Offset})
	return u.place(index, header)
}

// place resolves an entry, or has it wait for its base.
func (u *unpacker) place(index int, header *packfile.ObjectHeader) error {
	switch header.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return u.resolve(index)
	case plumbing.OFSDeltaObject:
		base, ok := u.at[header.OffsetReference]
		if !ok {
			return errors.New("a difference is to a place where no object begins")
		}
		if u.entries[base].resolved {
			return u.patch(index, u.entries[base].object)
		}
		u.waitsForPlace[header.OffsetReference] = append(u.waitsForPlace[header.OffsetReference], index)
	case plumbing.REFDeltaObject:
		if base, ok := u.found[header.Reference]; ok {
			return u.patch(index, base)
		}
		u.waitsForHash[header.Reference] = append(u.waitsForHash[header.Reference], index)
	default:
		return fmt.Errorf("an object is of the type %d", int(header.Type))
	}
	return nil
}

// resolve notes an object, and patches what has waited for it. Each entry is patched once, and none waits for two.
func (u *unpacker) resolve(index int) error {
	for todo := []int{index}; len(todo) > 0; {
		e := &u.entries[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		e.resolved = true
		hash := plumbing.ComputeHash(e.kind, e.content)
		u.found[hash] = e.object
		waiting := append(u.waitsForPlace[e.offset], u.waitsForHash[hash]...)
		delete(u.waitsForPlace, e.offset)
		delete(u.waitsForHash, hash)
		for _, next := range waiting {
			if err := u.apply(next, e.object); err != nil {
				return err
			}
		}
		todo = append(todo, waiting...)
	}
	return nil
}

// patch resolves an entry whose base is there.
func (u *unpacker) patch(index int, base object) error {
	if err := u.apply(index, base); err != nil {
		return err
	}
	return u.resolve(index)
}

// apply puts the object in the place of the delta.
func (u *unpacker) apply(index int, base object) error {
	e := &u.entries[index]
	size, err := patchedSize(e.content)
	if err != nil {
		return err
	}
	if err := u.take(size); err != nil {
		return err
	}
	content, err := packfile.PatchDelta(base.content, e.content)
	if err != nil {
		return err
	}
	u.left += int64(len(e.content)) // of the delta, which is not kept
	e.object = object{kind: base.kind, content: content}
	return nil
}

// take accounts for memory.
func (u *unpacker) take(bytes int64) error {
	if bytes < 0 || bytes > u.left {
		return &tooMuch{what: "the commit", limit: fmt.Sprintf("%d bytes unpacked", u.limits.Unpacked)}
	}
	u.left -= bytes
	return nil
}

// patchedSize is the second number of a delta: how many bytes it makes.
func patchedSize(delta []byte) (int64, error) {
	_, n := binary.Uvarint(delta)
	if n <= 0 {
		return 0, packfile.ErrInvalidDelta
	}
	size, m := binary.Uvarint(delta[n:])
	if m <= 0 || size > 1<<62 {
		return 0, packfile.ErrInvalidDelta
	}
	return int64(size), nil
}
