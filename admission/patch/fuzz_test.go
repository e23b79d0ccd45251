package patch_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/patch"
)

// editsFrom turns fuzz bytes into edits over few keys and indices, so that they meet often.
func editsFrom(script []byte) []patch.Edit {
	keys := []any{"a", "b", "a/b~", 0, 1, 2}
	values := []any{1, "x", nil, map[string]any{"a": 1}, map[string]any{"a": map[string]any{"b": 2}}, []any{1, 2}, []any{map[string]any{"a": 1}}}
	var edits []patch.Edit
	for len(script) >= 4 && len(edits) < 8 {
		edit := patch.Edit{
			Policy: "p/" + string('a'+rune(script[0]%3)),
			Op:     patch.Op(script[0]/3%3) + patch.Set,
			Value:  values[int(script[1])%len(values)],
		}
		length := 1 + int(script[2]%3)
		for i := range length {
			edit.Path = append(edit.Path, keys[(int(script[3])>>(2*i)+int(script[2])>>3)%len(keys)])
		}
		edits = append(edits, edit)
		script = script[4:]
	}
	return edits
}

// The operations make of the object what patched says; patching the result again
// changes nothing unless the edits name list items (which have moved); the order
// of the edits does not matter.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,null,{"a":2}]},"b":[{"a":1},2]}`), []byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Add([]byte(`{"a":null,"b":[[1,2],[3]],"a/b~":{"a":1.0}}`), []byte{6, 1, 1, 3, 7, 5, 1, 4, 0, 3, 2, 100})
	f.Add([]byte(`{}`), []byte{3, 4, 2, 4, 0, 0, 2, 4})
	f.Fuzz(func(t *testing.T, object, script []byte) {
		edits := editsFrom(script)
		patched, operations, err := patch.Merge(object, edits)
		again, _, reversedErr := patch.Merge(object, reversed(edits))
		if (err == nil) != (reversedErr == nil) {
			t.Fatalf("edits %v: got error %v in one order and %v in the other", edits, err, reversedErr)
		}
		var conflict *patch.ConflictError
		if errors.As(err, &conflict) && conflict.Policies[0] == "" {
			t.Fatalf("got a conflict without a policy: %v", err)
		}
		if err != nil || patched == nil {
			return
		}
		if !bytes.Equal(patched, again) {
			t.Fatalf("edits %v: got %s in one order and %s in the other", edits, patched, again)
		}
		checkOperations(t, object, patched, operations)
		if movesItems(edits) {
			return
		}
		if twice, _, err := patch.Merge(patched, edits); err != nil || twice != nil {
			t.Fatalf("patching %s again with %v: got %s, error %v, want no change", patched, edits, twice, err)
		}
	})
}

func movesItems(edits []patch.Edit) bool {
	for _, edit := range edits {
		for _, segment := range edit.Path {
			if _, isIndex := segment.(int); isIndex {
				return true
			}
		}
	}
	return false
}

func FuzzApplyChanges(f *testing.F) {
	f.Add([]byte(`{"spec":{"containers":[{"image":"a"}]}}`), "set", "spec.containers[0].image", "x")
	f.Add([]byte(`{"metadata":{"annotations":{"a/b":"c"}}}`), "remove", "metadata.annotations[a/b]", "")
	f.Add([]byte(`{"l":[1,2]}`), "add", "l", "3")
	f.Fuzz(func(t *testing.T, object []byte, op, path, value string) {
		change := []patch.Change{{Op: op, Path: path, Value: value}}
		changed, err := patch.ApplyChanges(object, change)
		if err != nil {
			return
		}
		tree(t, changed)
		if op != "set" {
			return
		}
		again, err := patch.ApplyChanges(changed, change)
		if err != nil || !bytes.Equal(again, changed) {
			t.Fatalf("setting %s twice: got %s and error %v, want %s", path, again, err, changed)
		}
	})
}
