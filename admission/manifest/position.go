package manifest

import (
	"bytes"
	"sync"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
)

// source is the text of a document, from which positions are found on demand:
// most documents have no findings.
type source struct {
	file string
	text []byte
	json bool
	line int // of the beginning of text in the file
	// column of the beginning of text, for JSON (YAML chunks begin with a line)
	column int

	parse sync.Once
	tree  *yamlv3.Node // nil where it cannot be parsed
}

// Position finds the deepest existing field on a path (written as in
// docs/policies.md): its key, or its value for a list item. The empty path is the
// beginning of the object. It is zero where nothing is known, as for a Document
// not made by [Read] or a path that cannot be parsed.
func (d *Document) Position(path string) Position {
	if d.source == nil {
		return Position{}
	}
	segments, err := ParsePath(path)
	if err != nil {
		return Position{}
	}
	full := append(append(make([]Segment, 0, len(d.within)+len(segments)), d.within...), segments...)
	if d.source.json {
		return d.source.positionInJSON(full)
	}
	return d.source.positionInYAML(full)
}

func (s *source) positionInJSON(path []Segment) Position {
	begin, _, found := locate(s.text, path)
	if found < 0 {
		return Position{}
	}
	lines := bytes.Count(s.text[:begin.key], []byte("\n"))
	column := columnAt(s.text, begin.key)
	if lines == 0 {
		column += s.column - 1
	}
	return Position{s.file, s.line + lines, column}
}

// columnAt is the column of an offset, in characters from 1.
func columnAt(text []byte, offset int) int {
	start := bytes.LastIndexByte(text[:offset], '\n') + 1
	return utf8.RuneCount(text[start:offset]) + 1
}

func (s *source) positionInYAML(path []Segment) Position {
	s.parse.Do(func() {
		var document yamlv3.Node
		if yamlv3.Unmarshal(s.text, &document) == nil && len(document.Content) == 1 {
			s.tree = document.Content[0]
		}
	})
	if s.tree == nil {
		return Position{}
	}
	mark, node := s.tree, s.tree
	for _, segment := range path {
		key, value := child(node, segment)
		if value == nil {
			break
		}
		mark, node = key, value
	}
	return Position{s.file, s.line + mark.Line - 1, mark.Column}
}

// child finds a field or item; mark is where it begins.
func child(n *yamlv3.Node, s Segment) (mark, value *yamlv3.Node) {
	if n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yamlv3.SequenceNode:
		if s.Index >= 0 && s.Index < len(n.Content) {
			return n.Content[s.Index], n.Content[s.Index]
		}
	case yamlv3.MappingNode:
		return field(n, s.Key, 0)
	}
	return nil, nil
}

// maxMerges bounds following merge keys (<<) through each other.
const maxMerges = 8

// field finds a key in a mapping, else in what is merged into it.
func field(n *yamlv3.Node, key string, merges int) (mark, value *yamlv3.Node) {
	if n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	if n.Kind != yamlv3.MappingNode || merges > maxMerges {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], n.Content[i+1]
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "<<" {
			continue
		}
		merged := []*yamlv3.Node{n.Content[i+1]}
		if n.Content[i+1].Kind == yamlv3.SequenceNode {
			merged = n.Content[i+1].Content
		}
		for _, m := range merged {
			if mark, value := field(m, key, merges+1); value != nil {
				return mark, value
			}
		}
	}
	return nil, nil
}
