package gate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// operation is one step of an RFC 6902 patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// MarshalJSON leaves value out of a removal only: null, false and 0 are values.
func (o operation) MarshalJSON() ([]byte, error) {
	if o.Op == "remove" {
		return json.Marshal(map[string]string{"op": o.Op, "path": o.Path})
	}
	type plain operation
	return json.Marshal(plain(o))
}

// diff gives the RFC 6902 operations that turn one JSON object into another. Lists
// of the same length are compared item by item; other lists are replaced whole.
func diff(from, to []byte) (json.RawMessage, error) {
	before, err := decode(from)
	if err != nil {
		return nil, err
	}
	after, err := decode(to)
	if err != nil {
		return nil, err
	}
	return json.Marshal(difference([]operation{}, "", before, after))
}

// decode keeps numbers as they are written.
func decode(raw []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("comparing objects: %w", err)
	}
	return value, nil
}

func difference(operations []operation, path string, before, after any) []operation {
	switch after := after.(type) {
	case map[string]any:
		if before, ok := before.(map[string]any); ok {
			return objectDifference(operations, path, before, after)
		}
	case []any:
		if before, ok := before.([]any); ok && len(before) == len(after) {
			for i := range after {
				operations = difference(operations, fmt.Sprintf("%s/%d", path, i), before[i], after[i])
			}
			return operations
		}
	}
	if reflect.DeepEqual(before, after) {
		return operations
	}
	return append(operations, operation{"replace", path, after})
}

// pointer escapes a key (RFC 6901).
var pointer = strings.NewReplacer("~", "~0", "/", "~1")

func objectDifference(operations []operation, path string, before, after map[string]any) []operation {
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if _, kept := after[key]; !kept {
			operations = append(operations, operation{Op: "remove", Path: path + "/" + pointer.Replace(key)})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		at := path + "/" + pointer.Replace(key)
		if old, existed := before[key]; existed {
			operations = difference(operations, at, old, after[key])
		} else {
			operations = append(operations, operation{"add", at, after[key]})
		}
	}
	return operations
}
