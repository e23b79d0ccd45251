package manifest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Segment is one step of a path: a key of an object or an index of a list.
type Segment struct {
	// Key is the key; for an index its digits, since "[0]" can be a key as well
	// where the path leads to an object.
	Key string
	// Index is the index in a list, -1 for what can only be a key.
	Index int
}

// ParsePath parses a path as Kubernetes writes it: spec.containers[0].image, with
// keys that are no identifiers in brackets: metadata.annotations[example.com/key].
// The empty path is the whole object. A bracketed key ends at the first bracket
// that another segment or the end follows.
func ParsePath(path string) ([]Segment, error) {
	var segments []Segment
	rest := path
	for rest != "" {
		var segment Segment
		var err error
		if rest[0] == '[' {
			segment, rest, err = bracketed(rest)
		} else {
			segment, rest, err = plain(rest, len(segments) == 0)
		}
		if err != nil {
			return nil, fmt.Errorf("parsing the path %q: %w", abbreviate(path), err)
		}
		segments = append(segments, segment)
	}
	return segments, nil
}

// plain takes a key up to the next dot or bracket.
func plain(rest string, first bool) (Segment, string, error) {
	if !first {
		after, ok := strings.CutPrefix(rest, ".")
		if !ok {
			return Segment{}, "", fmt.Errorf("a dot or bracket is missing before %q", abbreviate(rest))
		}
		rest = after
	}
	end := strings.IndexAny(rest, ".[")
	if end < 0 {
		end = len(rest)
	}
	if end == 0 {
		return Segment{}, "", fmt.Errorf("a key is empty; write names between the dots")
	}
	return Segment{Key: rest[:end], Index: -1}, rest[end:], nil
}

// bracketed takes a key or index in brackets.
func bracketed(rest string) (Segment, string, error) {
	for end := 1; end < len(rest); end++ {
		if rest[end] != ']' || end+1 < len(rest) && rest[end+1] != '.' && rest[end+1] != '[' {
			continue
		}
		key := rest[1:end]
		return Segment{Key: key, Index: indexOf(key)}, rest[end+1:], nil
	}
	return Segment{}, "", fmt.Errorf("the bracket at %q is not closed; end it with ]", abbreviate(rest))
}

// indexOf returns the list index that key spells, or -1.
func indexOf(key string) int {
	if key == "" || len(key) > 9 || len(key) > 1 && key[0] == '0' {
		return -1
	}
	index, err := strconv.ParseUint(key, 10, 31)
	if err != nil {
		return -1
	}
	return int(index)
}

// JoinPath writes segments as [ParsePath] reads them.
func JoinPath(segments []Segment) string {
	var b strings.Builder
	for _, s := range segments {
		if s.Index >= 0 || s.Key == "" || strings.ContainsAny(s.Key, ".[]/ ") {
			b.WriteByte('[')
			b.WriteString(s.Key)
			b.WriteByte(']')
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(s.Key)
	}
	return b.String()
}

// Get returns the JSON value at path, false where there is none (or where path or
// object cannot be parsed). The value is a part of object, not a copy.
func Get(object []byte, path string) ([]byte, bool) {
	segments, err := ParsePath(path)
	if err != nil {
		return nil, false
	}
	begin, end, found := locate(object, segments)
	if found < len(segments) {
		return nil, false
	}
	return object[begin.value:end], true
}

// place says where in a JSON text a field begins: its key (the value itself for a
// list item or the whole text) and its value.
type place struct{ key, value int }

// locate finds the deepest existing field on a path in a JSON text: where it
// begins and ends, and how many segments led to it.
func locate(text []byte, segments []Segment) (begin place, end, found int) {
	d := jsontext.NewDecoder(bytes.NewBuffer(text))
	begin.value = valueStart(text, 0)
	begin.key = begin.value
	for found < len(segments) {
		step, ok := enter(d, text, segments[found])
		if !ok {
			return begin, int(d.InputOffset()), found
		}
		begin = step
		found++
	}
	if err := d.SkipValue(); err != nil {
		return begin, 0, -1
	}
	return begin, int(d.InputOffset()), found
}

// enter moves the decoder from before a value to before the value of one of its
// fields or items.
func enter(d *jsontext.Decoder, text []byte, s Segment) (place, bool) {
	switch d.PeekKind() {
	case '{':
		return enterObject(d, text, s.Key)
	case '[':
		return enterList(d, text, s.Index)
	default:
		return place{}, false
	}
}

func enterObject(d *jsontext.Decoder, text []byte, key string) (place, bool) {
	if _, err := d.ReadToken(); err != nil {
		return place{}, false
	}
	for d.PeekKind() == '"' {
		start := valueStart(text, int(d.InputOffset()))
		name, err := d.ReadToken()
		if err != nil {
			return place{}, false
		}
		if name.String() == key {
			return place{start, valueStart(text, int(d.InputOffset()))}, true
		}
		if err := d.SkipValue(); err != nil {
			return place{}, false
		}
	}
	return place{}, false
}

func enterList(d *jsontext.Decoder, text []byte, index int) (place, bool) {
	if index < 0 {
		return place{}, false
	}
	if _, err := d.ReadToken(); err != nil {
		return place{}, false
	}
	for range index {
		if kind := d.PeekKind(); kind == ']' || d.SkipValue() != nil {
			return place{}, false
		}
	}
	if kind := d.PeekKind(); kind == ']' || kind == 0 {
		return place{}, false
	}
	start := valueStart(text, int(d.InputOffset()))
	return place{start, start}, true
}

// valueStart skips what may stand between two JSON tokens.
func valueStart(text []byte, offset int) int {
	for offset < len(text) && bytes.IndexByte([]byte(" \t\r\n,:"), text[offset]) >= 0 {
		offset++
	}
	return offset
}
