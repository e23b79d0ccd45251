package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	// maxElements of a list in a manifest: far above the images of an index. Without it
	// 4 MiB of "{}," would become hundreds.
	maxElements = 10000
	// maxAnnotations of a manifest or descriptor.
	maxAnnotations = 1000
)

// errElements says that a list in a manifest is too long.
var errElements = errors.New("it has more elements than the limit")

// elements visits the elements of a JSON list one after the other.
func elements(raw json.RawMessage, limit int, visit func(*json.Decoder) error) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	opening, err := decoder.Token()
	if err != nil || opening == nil {
		return err
	}
	if opening != json.Delim('[') {
		return errors.New("it is no list")
	}
	for n := 0; decoder.More(); n++ {
		if n == limit {
			return fmt.Errorf("%w: %d", errElements, limit)
		}
		if err := visit(decoder); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

// countElements refuses a list that is too long.
func countElements(raw json.RawMessage, limit int) error {
	if len(raw) == 0 {
		return nil
	}
	return elements(raw, limit, func(decoder *json.Decoder) error {
		var skipped json.RawMessage
		return decoder.Decode(&skipped)
	})
}

// annotations are a map of bounded size.
type annotations map[string]string

// UnmarshalJSON implements [json.Unmarshaler].
func (a *annotations) UnmarshalJSON(raw []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	opening, err := decoder.Token()
	if err != nil || opening == nil {
		return err
	}
	if opening != json.Delim('{') {
		return errors.New("annotations are no object")
	}
	*a = annotations{}
	for decoder.More() {
		if len(*a) == maxAnnotations {
			return fmt.Errorf("there are more than %d annotations, which is the limit", maxAnnotations)
		}
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		var value string
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		(*a)[key.(string)] = value
	}
	return nil
}
