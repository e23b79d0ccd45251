// Package manifest reads Kubernetes manifests, keeping where each field stood.
//
// A stream of YAML or JSON means here what kubectl makes of it: YAML 1.1 values
// (yes, on, 0777), case-sensitive keys, documents divided by lines of three
// dashes, lists expanded into their items, documents without content skipped.
// Where kubectl picks one of several meanings, reading is refused instead: a key
// given twice, a second document behind "...", an object that is also a list.
//
// Reading is bounded by [Limits], whatever the input: an exploding alias, a
// document of 10 MB of brackets or an endless stream cost bounded memory.
package manifest

import (
	"errors"
	"fmt"
	"io"
)

// Document is one object of a stream, as kubectl would send it to the API server.
type Document struct {
	// File is the name given to [Read].
	File string
	// Index counts the documents of the stream from 0, those without content
	// included. All items of one list have the list's index.
	Index int
	// JSON is the object. It must not be modified.
	JSON []byte

	APIVersion, Kind, Namespace, Name, GenerateName string

	source *source
	within []Segment // where in the source the object lies; empty unless it was a list item
}

// Position is a place in a file. Line and Column count from 1, columns in
// characters; the zero Position is unknown.
type Position struct {
	File         string
	Line, Column int
}

// IsZero says that the position is unknown.
func (p Position) IsZero() bool { return p == Position{} }

// String writes file:line:column, leaving out what is unknown.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
}

// Limits bound what reading may cost. A zero field means that of [DefaultLimits].
type Limits struct {
	Bytes     int64 // of one document, before and after aliases are expanded
	Depth     int   // of nesting
	Nodes     int   // of one document: scalars, lists and objects, after aliases are expanded
	Documents int   // of one stream, list items counted
	Stream    int64 // bytes of the whole stream
}

// DefaultLimits suit files from people who do not mean well. The API server takes
// requests of up to 3 MiB, and a 10 MB dump of a cluster has some 500,000 nodes.
var DefaultLimits = Limits{
	Bytes:     10 << 20,
	Depth:     500,
	Nodes:     1_000_000,
	Documents: 100_000,
	Stream:    256 << 20,
}

// orDefault fills zero fields.
func (l Limits) orDefault() Limits {
	if l.Bytes == 0 {
		l.Bytes = DefaultLimits.Bytes
	}
	if l.Depth == 0 {
		l.Depth = DefaultLimits.Depth
	}
	if l.Nodes == 0 {
		l.Nodes = DefaultLimits.Nodes
	}
	if l.Documents == 0 {
		l.Documents = DefaultLimits.Documents
	}
	if l.Stream == 0 {
		l.Stream = DefaultLimits.Stream
	}
	return l
}

// Error is a problem of the input: where, what, and what to do about it.
type Error struct {
	Position Position
	Problem  string
	Next     string
}

func (e *Error) Error() string {
	return fmt.Sprintf("reading %s: %s; %s", e.Position, e.Problem, e.Next)
}

// maxErrors is after how many broken documents reading a stream is given up.
const maxErrors = 20

// Read reads a whole stream of YAML or JSON; name is what positions call it.
//
// A document that cannot be read does not hide the others: Read returns all that
// it could read beside the joined errors, each an [*Error] unless the reader
// failed. Who acts on the documents of a stream with an error must say so.
func Read(name string, r io.Reader, limits Limits) ([]Document, error) {
	limits = limits.orDefault()
	var documents []Document
	var problems []error
	chunks := newSplitter(name, r, limits)
	for index := 0; len(problems) < maxErrors; {
		chunk, err := chunks.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			problems = append(problems, err)
			break
		}
		roots, err := decode(chunk, limits)
		if err != nil {
			problems = append(problems, err)
			index++
			continue
		}
		for _, root := range roots {
			items, err := root.documents(name, index, limits.Documents-len(documents))
			documents = append(documents, items...)
			if err != nil {
				problems = append(problems, err)
			}
			index++
		}
		if len(documents) >= limits.Documents && len(problems) > 0 {
			break
		}
	}
	return documents, errors.Join(problems...)
}
