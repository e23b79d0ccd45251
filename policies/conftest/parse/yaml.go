package parse

import (
	"bytes"
	"fmt"

	"github.com/portcullis-dev/portcullis/admission/manifest"
)

// readYAML gives the value of a single document, and a list of several, one of which may be empty (null).
func readYAML(content []byte) (any, error) {
	parts := yamlDocuments(bytes.TrimPrefix(content, byteOrderMark))
	values := make([]any, 0, len(parts))
	for n, part := range parts {
		raw, err := manifest.YAMLToJSON(part)
		if err != nil {
			if len(parts) > 1 {
				return nil, fmt.Errorf("document %d: %w", n+1, err)
			}
			return nil, err
		}
		value, err := decode(raw)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	if len(values) == 1 {
		return values[0], nil
	}
	return values, nil
}

// yamlDocuments splits at the markers of YAML 1.2 (section 9.1): "---" and "..." at the beginning of a line. A marker
// before anything else begins the first document; what is before one after a comment is an empty document, as in
// Conftest; directives belong to the document that they are about.
func yamlDocuments(content []byte) [][]byte {
	var parts [][]byte
	var part []byte
	first, directives := true, false
	for line := range bytes.Lines(content) {
		marker, rest := yamlMarker(line)
		switch {
		case first && line[0] == '%':
			directives = true
			part = append(part, line...)
		case marker && (first || directives):
			part = append(part, line...)
			directives = false
		case marker:
			parts = append(parts, part)
			part = append([]byte(nil), rest...)
		default:
			part = append(part, line...)
		}
		first = first && (line[0] == '%' || len(bytes.TrimSpace(line)) == 0)
	}
	return append(parts, part)
}

// yamlMarker says whether a line is a marker, and gives what stands after it.
func yamlMarker(line []byte) (bool, []byte) {
	for _, marker := range []string{"---", "..."} {
		if rest, ok := bytes.CutPrefix(line, []byte(marker)); ok && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			return true, bytes.TrimLeft(rest, " \t")
		}
	}
	return false, nil
}
