package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/portcullis-dev/portcullis/admission/manifest"
	kjson "sigs.k8s.io/json"
)

// decodeYAML reads a file of a bundle. It is strict: fields that are unknown, given
// twice or written in another case are errors, and so is a second document, which
// would be passed over without a word. Integers stay integers.
func decodeYAML(content []byte, into any) error {
	if err := oneDocument(content); err != nil {
		return err
	}
	raw, err := manifest.YAMLToJSON(content)
	if err != nil {
		return err
	}
	return decodeStrict(raw, into)
}

// decodeLoosely reads the fields of a file that are asked for, and leaves out all others.
func decodeLoosely(content []byte, into any) error {
	raw, err := manifest.YAMLToJSON(content)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// decodeStrict is decodeYAML for JSON.
func decodeStrict(raw []byte, into any) error {
	strict, err := kjson.UnmarshalStrict(raw, into)
	if err != nil {
		return err
	}
	return errors.Join(strict...)
}

// oneDocument refuses content after a document marker when there was content before it.
func oneDocument(content []byte) error {
	begun, over, number := false, false, 0
	for line := range bytes.Lines(content) {
		number++
		line = bytes.TrimRight(line, " \t\r\n")
		marker, rest := documentMarker(line)
		if marker {
			over = over || begun
			line = rest
		}
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if over {
			return fmt.Errorf("line %d begins a second document: a file of a bundle holds one document", number)
		}
		begun = true
	}
	return nil
}

// documentMarker says whether a line begins or ends a YAML document, and gives what follows the
// marker. In the first column these are markers whatever stands around them.
func documentMarker(line []byte) (marker bool, rest []byte) {
	for _, text := range []string{"---", "..."} {
		if after, found := bytes.CutPrefix(line, []byte(text)); found && (len(after) == 0 || after[0] == ' ' || after[0] == '\t') {
			return true, bytes.TrimSpace(after)
		}
	}
	return false, nil
}
