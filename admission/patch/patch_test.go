package patch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/patch"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

func path(segments ...any) []any { return segments }

func set(policy string, value any, segments ...any) patch.Edit {
	return patch.Edit{Policy: policy, Path: segments, Op: patch.Set, Value: value}
}

func setIfAbsent(policy string, value any, segments ...any) patch.Edit {
	return patch.Edit{Policy: policy, Path: segments, Op: patch.SetIfAbsent, Value: value}
}

func remove(policy string, segments ...any) patch.Edit {
	return patch.Edit{Policy: policy, Path: segments, Op: patch.Remove}
}

func TestMerge(t *testing.T) {
	tests := map[string]struct {
		object     string
		edits      []patch.Edit
		patched    string // "" for no change
		operations string
	}{
		"no edits change nothing": {object: `{"a":1}`},
		"a member is replaced": {
			object:     `{"a":1,"b":2}`,
			edits:      []patch.Edit{set("p/a", 3, "a")},
			patched:    `{"a":3,"b":2}`,
			operations: `[{"op":"replace","path":"/a","value":3}]`,
		},
		"a member is added": {
			object:     `{"a":1}`,
			edits:      []patch.Edit{set("p/a", "x", "b")},
			patched:    `{"a":1,"b":"x"}`,
			operations: `[{"op":"add","path":"/b","value":"x"}]`,
		},
		"setting what is there changes nothing": {
			object: `{"a":{"x":1,"y":[true]}}`,
			edits:  []patch.Edit{set("p/a", map[string]any{"y": []any{true}, "x": json.Number("1.0")}, "a")},
		},
		"a default yields to what is there": {
			object: `{"a":false}`,
			edits:  []patch.Edit{setIfAbsent("p/a", true, "a")},
		},
		"a default replaces null": {
			object:     `{"a":null}`,
			edits:      []patch.Edit{setIfAbsent("p/a", true, "a")},
			patched:    `{"a":true}`,
			operations: `[{"op":"add","path":"/a","value":true}]`,
		},
		"a default yields to a value that another policy sets": {
			object:     `{}`,
			edits:      []patch.Edit{setIfAbsent("p/a", 1, "a"), set("p/b", 2, "a")},
			patched:    `{"a":2}`,
			operations: `[{"op":"add","path":"/a","value":2}]`,
		},
		"different defaults for a field that is there are no conflict": {
			object: `{"a":0}`,
			edits:  []patch.Edit{setIfAbsent("p/a", 1, "a"), setIfAbsent("p/b", 2, "a")},
		},
		"missing parents of many edits are one operation": {
			object: `{"spec":{}}`,
			edits: []patch.Edit{
				set("p/a", "RuntimeDefault", "spec", "securityContext", "seccompProfile", "type"),
				setIfAbsent("p/b", true, "spec", "securityContext", "runAsNonRoot"),
			},
			patched:    `{"spec":{"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}}}`,
			operations: `[{"op":"add","path":"/spec/securityContext","value":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}}]`,
		},
		"a null parent is created": {
			object:     `{"spec":null}`,
			edits:      []patch.Edit{set("p/a", 1, "spec", "x")},
			patched:    `{"spec":{"x":1}}`,
			operations: `[{"op":"add","path":"/spec","value":{"x":1}}]`,
		},
		"a missing list is created where the next segment is its length": {
			object:     `{"spec":{}}`,
			edits:      []patch.Edit{set("p/a", "pull", "spec", "imagePullSecrets", 0, "name")},
			patched:    `{"spec":{"imagePullSecrets":[{"name":"pull"}]}}`,
			operations: `[{"op":"add","path":"/spec/imagePullSecrets","value":[{"name":"pull"}]}]`,
		},
		"the index equal to the length appends": {
			object:     `{"l":["a"]}`,
			edits:      []patch.Edit{set("p/a", "b", "l", 1)},
			patched:    `{"l":["a","b"]}`,
			operations: `[{"op":"add","path":"/l/1","value":"b"}]`,
		},
		"removals and additions use the indices of the list as it came in": {
			object: `{"l":[0,1,2,3]}`,
			edits: []patch.Edit{
				remove("p/a", "l", 0), remove("p/b", "l", 2), set("p/c", 33, "l", 3), set("p/d", 4, "l", 4),
			},
			patched: `{"l":[1,33,4]}`,
			operations: `[{"op":"replace","path":"/l/3","value":33},{"op":"add","path":"/l/4","value":4},` +
				`{"op":"remove","path":"/l/2"},{"op":"remove","path":"/l/0"}]`,
		},
		"removals from lists inside lists keep their indices": {
			object: `{"c":[{"m":[1,2]},{"m":[3,4]}]}`,
			edits: []patch.Edit{
				remove("p/a", "c", 0), remove("p/a", "c", 1, "m", 0), remove("p/b", "c", 1, "m", 1),
			},
			patched:    `{"c":[{"m":[]}]}`,
			operations: `[{"op":"remove","path":"/c/1/m/1"},{"op":"remove","path":"/c/1/m/0"},{"op":"remove","path":"/c/0"}]`,
		},
		"removing what lies in a removed value is the same wish": {
			object:     `{"a":{"b":1}}`,
			edits:      []patch.Edit{remove("p/a", "a"), remove("p/b", "a", "b")},
			patched:    `{}`,
			operations: `[{"op":"remove","path":"/a"}]`,
		},
		"removing what is not there changes nothing and creates nothing": {
			object: `{"a":1}`,
			edits:  []patch.Edit{remove("p/a", "b", "c"), remove("p/a", "l", 0), remove("p/a", "x")},
		},
		"a removal beyond the end of a list changes nothing": {
			object: `{"l":[]}`,
			edits:  []patch.Edit{remove("p/a", "l", 7)},
		},
		"a null item is replaced by two operations": {
			object:     `{"l":[null]}`,
			edits:      []patch.Edit{set("p/a", 1, "l", 0, "x")},
			patched:    `{"l":[{"x":1}]}`,
			operations: `[{"op":"remove","path":"/l/0"},{"op":"add","path":"/l/0","value":{"x":1}}]`,
		},
		"equal edits of two policies merge": {
			object:     `{}`,
			edits:      []patch.Edit{set("p/a", 1, "a"), set("p/b", json.Number("1e0"), "a")},
			patched:    `{"a":1}`,
			operations: `[{"op":"add","path":"/a","value":1}]`,
		},
		"an edit that agrees with the value another sets merges": {
			object: `{}`,
			edits: []patch.Edit{
				set("p/a", map[string]any{"x": 1}, "a"), set("p/b", 1, "a", "x"),
				setIfAbsent("p/c", 9, "a", "x"), remove("p/d", "a", "y"),
			},
			patched:    `{"a":{"x":1}}`,
			operations: `[{"op":"add","path":"/a","value":{"x":1}}]`,
		},
		"an edit beside a default is added to it": {
			object: `{}`,
			edits: []patch.Edit{
				setIfAbsent("p/a", map[string]any{"x": 1}, "a"), set("p/b", 2, "a", "y"), setIfAbsent("p/c", 3, "a", "z"),
			},
			patched:    `{"a":{"x":1,"y":2,"z":3}}`,
			operations: `[{"op":"add","path":"/a","value":{"x":1,"y":2,"z":3}}]`,
		},
		"keys are escaped in pointers": {
			object:     `{"metadata":{"annotations":{"a/b~c":"1"}}}`,
			edits:      []patch.Edit{set("p/a", "2", "metadata", "annotations", "a/b~c")},
			patched:    `{"metadata":{"annotations":{"a/b~c":"2"}}}`,
			operations: `[{"op":"replace","path":"/metadata/annotations/a~1b~0c","value":"2"}]`,
		},
		"what is not touched keeps its text": {
			object:     `{"big":9007199254740993, "huge":1e400,"text":"\u003c<\u00e9","nested":{"z":1.0,"a":-0},"t":[1,2]}`,
			edits:      []patch.Edit{set("p/a", "<&>", "new")},
			patched:    `{"big":9007199254740993,"huge":1e400,"text":"\u003c<\u00e9","nested":{"z":1.0,"a":-0},"t":[1,2],"new":"<&>"}`,
			operations: `[{"op":"add","path":"/new","value":"<&>"}]`,
		},
		"big numbers are not rounded": {
			object:     `{"a":9007199254740992}`,
			edits:      []patch.Edit{set("p/a", int64(9007199254740993), "a"), set("p/a", new(big.Int).Lsh(big.NewInt(1), 80), "b")},
			patched:    `{"a":9007199254740993,"b":1208925819614629174706176}`,
			operations: `[{"op":"replace","path":"/a","value":9007199254740993},{"op":"add","path":"/b","value":1208925819614629174706176}]`,
		},
		"a value may be null": {
			object:     `{"a":1}`,
			edits:      []patch.Edit{set("p/a", nil, "a")},
			patched:    `{"a":null}`,
			operations: `[{"op":"replace","path":"/a","value":null}]`,
		},
		"numeric keys of objects are keys": {
			object:     `{"data":{"0":"x"}}`,
			edits:      []patch.Edit{set("p/a", "y", "data", "0")},
			patched:    `{"data":{"0":"y"}}`,
			operations: `[{"op":"replace","path":"/data/0","value":"y"}]`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, order := range []string{"as given", "reversed"} {
				patched, operations, err := patch.Merge([]byte(test.object), test.edits)
				if err != nil {
					t.Fatalf("%s: got error %v, want none", order, err)
				}
				if string(patched) != test.patched {
					t.Errorf("%s: patched:\n got %s\nwant %s", order, patched, test.patched)
				}
				if string(operations) != test.operations {
					t.Errorf("%s: operations:\n got %s\nwant %s", order, operations, test.operations)
				}
				checkOperations(t, []byte(test.object), patched, operations)
				test.edits = reversed(test.edits)
			}
		})
	}
}

func reversed(edits []patch.Edit) []patch.Edit {
	var turned []patch.Edit
	for i := range edits {
		turned = append(turned, edits[len(edits)-1-i])
	}
	return turned
}

// checkOperations applies the operations with the library that the API server uses.
func checkOperations(t *testing.T, object, patched, operations []byte) {
	t.Helper()
	if operations == nil {
		if patched != nil {
			t.Errorf("got patched %s without operations, want none", patched)
		}
		return
	}
	decoded, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		t.Fatalf("decoding operations %s: %v", operations, err)
	}
	applied, err := decoded.Apply(object)
	if err != nil {
		t.Fatalf("applying operations %s to %s: %v", operations, object, err)
	}
	if got, want := tree(t, applied), tree(t, patched); !reflect.DeepEqual(got, want) {
		t.Errorf("applying %s:\n got %s\nwant %s", operations, applied, patched)
	}
}

func tree(t *testing.T, text []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("decoding %s: %v", text, err)
	}
	return v
}

func TestMergeConflicts(t *testing.T) {
	tests := map[string]struct {
		object string
		edits  []patch.Edit
		path   []any
	}{
		"two values for one path": {
			edits: []patch.Edit{set("p/a", 1, "a"), set("p/b", 2, "a")},
			path:  path("a"),
		},
		"two values for one path, one of which is there already": {
			object: `{"a":1}`,
			edits:  []patch.Edit{set("p/a", 1, "a"), set("p/b", 2, "a")},
			path:   path("a"),
		},
		"numbers that only differ beyond float64": {
			edits: []patch.Edit{set("p/a", int64(9007199254740992), "a"), set("p/b", int64(9007199254740993), "a")},
			path:  path("a"),
		},
		"two defaults for one path": {
			edits: []patch.Edit{setIfAbsent("p/a", 1, "a"), setIfAbsent("p/b", 2, "a")},
			path:  path("a"),
		},
		"a value and a removal": {
			edits: []patch.Edit{set("p/a", 1, "a"), remove("p/b", "a")},
			path:  path("a"),
		},
		"a default and a removal": {
			object: `{"a":1}`,
			edits:  []patch.Edit{setIfAbsent("p/a", 1, "a"), remove("p/b", "a")},
			path:   path("a"),
		},
		"a value inside what another removes": {
			object: `{"a":{"x":1}}`,
			edits:  []patch.Edit{remove("p/a", "a"), set("p/b", 1, "a", "x")},
			path:   path("a", "x"),
		},
		"a value inside a list item that another removes": {
			object: `{"l":[{"x":1},{"x":1}]}`,
			edits:  []patch.Edit{remove("p/a", "l", 1), set("p/b", 2, "l", 1, "x")},
			path:   path("l", 1, "x"),
		},
		"a value inside what another replaces": {
			edits: []patch.Edit{set("p/a", map[string]any{"x": 1}, "a"), set("p/b", 2, "a", "y")},
			path:  path("a", "y"),
		},
		"a default inside what another replaces without it": {
			edits: []patch.Edit{set("p/a", map[string]any{"x": 1}, "a"), setIfAbsent("p/b", 2, "a", "y")},
			path:  path("a", "y"),
		},
		"a removal inside what another sets": {
			edits: []patch.Edit{set("p/a", map[string]any{"x": 1}, "a"), remove("p/b", "a", "x")},
			path:  path("a", "x"),
		},
		"a removal of an item of a list that another sets": {
			edits: []patch.Edit{set("p/a", []any{1}, "a"), remove("p/b", "a", 0)},
			path:  path("a", 0),
		},
		"a value that differs from that inside a default": {
			edits: []patch.Edit{setIfAbsent("p/a", map[string]any{"x": 1}, "a"), set("p/b", 2, "a", "x")},
			path:  path("a", "x"),
		},
		"two appended items": {
			object: `{"l":[1]}`,
			edits:  []patch.Edit{set("p/a", 2, "l", 1), set("p/b", 3, "l", 1)},
			path:   path("l", 1),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			object := test.object
			if object == "" {
				object = "{}"
			}
			for _, edits := range [][]patch.Edit{test.edits, reversed(test.edits)} {
				patched, operations, err := patch.Merge([]byte(object), edits)
				var conflict *patch.ConflictError
				if !errors.As(err, &conflict) {
					t.Fatalf("got %s, %s, error %v, want a ConflictError", patched, operations, err)
				}
				if want := [2]string{"p/a", "p/b"}; conflict.Policies != want {
					t.Errorf("policies: got %v, want %v", conflict.Policies, want)
				}
				if !reflect.DeepEqual(conflict.Path, test.path) {
					t.Errorf("path: got %v, want %v", conflict.Path, test.path)
				}
				if message := err.Error(); !strings.Contains(message, patch.FormatPath(test.path)) {
					t.Errorf("message: got %q, want the path %s in it", message, patch.FormatPath(test.path))
				}
			}
		})
	}
}

func TestAPolicyCanContradictItself(t *testing.T) {
	_, _, err := patch.Merge([]byte(`{}`), []patch.Edit{set("p/a", 1, "a"), set("p/a", 2, "a")})
	var conflict *patch.ConflictError
	if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "p/a contradicts itself about a") {
		t.Errorf("got error %v, want that p/a contradicts itself about a", err)
	}
}

func TestMergeErrors(t *testing.T) {
	tests := map[string]struct {
		object string
		edit   patch.Edit
		want   string
	}{
		"an object that is no JSON":       {`{`, set("p/a", 1, "a"), "reading the object to patch"},
		"an object that is a list":        {`[]`, set("p/a", 1, "a"), "not a JSON object"},
		"an object with a duplicate name": {`{"a":1,"a":2}`, set("p/a", 1, "b"), "duplicate"},
		"an object with something behind": {`{} {}`, set("p/a", 1, "b"), "something follows"},
		"an empty path":                   {`{}`, set("p/a", 1), "its path is empty"},
		"a segment of another type":       {`{}`, set("p/a", 1, "a", 1.5), "neither a key (string) nor an index (int)"},
		"a negative index":                {`{"l":[1]}`, set("p/a", 1, "l", -1), "is negative"},
		"a key that is not UTF-8":         {`{}`, set("p/a", 1, "\xff"), "is not UTF-8"},
		"an unknown op":                   {`{}`, patch.Edit{Policy: "p/a", Path: path("a")}, "unknown op 0"},
		"a default of null":               {`{}`, setIfAbsent("p/a", nil, "a"), "is null"},
		"a value that is no JSON":         {`{}`, set("p/a", func() {}, "a"), "as JSON"},
		"an index beyond the end":         {`{"l":[1]}`, set("p/a", 1, "l", 2), "l[2] is beyond the end of a list of 1"},
		"an index of a missing list":      {`{}`, set("p/a", 1, "l", 1), "l[1] is beyond the end of a list of 0"},
		"a key of a list":                 {`{"l":[1]}`, set("p/a", 1, "l", "x"), "l.x names a key of a list"},
		"an index of an object":           {`{"l":{}}`, set("p/a", 1, "l", 0), "l[0] names an index of an object"},
		"a key of a string":               {`{"l":"x"}`, remove("p/a", "l", "x"), "l.x names a key of a string"},
		"a key of a number":               {`{"l":1}`, set("p/a", 1, "l", "x"), "names a key of a number"},
		"a key of a boolean":              {`{"l":true}`, set("p/a", 1, "l", "x"), "names a key of a boolean"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			patched, operations, err := patch.Merge([]byte(test.object), []patch.Edit{test.edit})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
			if patched != nil || operations != nil {
				t.Errorf("got %s and %s beside the error, want nothing", patched, operations)
			}
			var conflict *patch.ConflictError
			if errors.As(err, &conflict) {
				t.Errorf("got a ConflictError for a fault that is none: %v", err)
			}
		})
	}
}

func TestKeysAndIndicesOfOneParentAreAnError(t *testing.T) {
	_, _, err := patch.Merge([]byte(`{}`), []patch.Edit{set("p/a", 1, "l", 0), set("p/b", 1, "l", "x")})
	if want := "l.x names a key of a list"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want %q in it", err, want)
	}
}

func TestMergeLeavesItsArgumentsAlone(t *testing.T) {
	object := []byte(`{"l":[1,2,3],"a":{"b":null}}`)
	edits := []patch.Edit{set("p/z", 1, "a", "b"), remove("p/a", "l", 1)}
	before := bytes.Clone(object)
	if _, _, err := patch.Merge(object, edits); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(object, before) {
		t.Errorf("object: got %s, want %s", object, before)
	}
	if edits[0].Policy != "p/z" {
		t.Errorf("edits: got %v first, want p/z", edits[0].Policy)
	}
}
