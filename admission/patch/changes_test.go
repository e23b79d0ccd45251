package patch_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/patch"
)

func TestApplyChanges(t *testing.T) {
	tests := map[string]struct {
		object  string
		changes []patch.Change
		want    string
	}{
		"no change": {`{"a": 1}`, nil, `{"a": 1}`},
		"a field is set": {
			`{"spec":{"containers":[{"image":"a"}]}}`,
			[]patch.Change{{Op: "set", Path: "spec.containers[0].image", Value: "b"}},
			`{"spec":{"containers":[{"image":"b"}]}}`,
		},
		"missing parents are created": {
			`{}`,
			[]patch.Change{{Op: "set", Path: "spec.hosts[0].name", Value: "a"}},
			`{"spec":{"hosts":[{"name":"a"}]}}`,
		},
		"a bracketed key is a key": {
			`{"metadata":{}}`,
			[]patch.Change{{Op: "set", Path: "metadata.annotations[example.com/key]", Value: "v"}},
			`{"metadata":{"annotations":{"example.com/key":"v"}}}`,
		},
		"a number in brackets is a key of an object": {
			`{"data":{"0":"x"}}`,
			[]patch.Change{{Op: "remove", Path: "data[0]"}},
			`{"data":{}}`,
		},
		"a key may have brackets": {
			`{"a":{"x]y":1,"b":{}}}`,
			[]patch.Change{{Op: "remove", Path: "a[x]y]"}, {Op: "set", Path: "a[b].c", Value: 2}},
			`{"a":{"b":{"c":2}}}`,
		},
		"add appends, and creates the list": {
			`{"l":["a"]}`,
			[]patch.Change{{Op: "add", Path: "l", Value: "b"}, {Op: "add", Path: "n.m", Value: "c"}},
			`{"l":["a","b"],"n":{"m":["c"]}}`,
		},
		"an add asked for twice is done once": {
			`{"l":[]}`,
			[]patch.Change{{Op: "add", Path: "l", Value: "b"}, {Op: "add", Path: "l", Value: "b"}, {Op: "add", Path: "l", Value: "c"}},
			`{"l":["b","c"]}`,
		},
		"items are removed from the end, once each, after everything else": {
			`{"l":[0,1,2,3,4,5,6,7,8,9,{"m":[1,2]}]}`,
			[]patch.Change{
				{Op: "remove", Path: "l[2]"}, {Op: "remove", Path: "l[9]"}, {Op: "remove", Path: "l[10].m[0]"},
				{Op: "remove", Path: "l[0]"}, {Op: "remove", Path: "l[2]"}, {Op: "set", Path: "l[3]", Value: "x"},
				{Op: "remove", Path: "l[0]"},
			},
			`{"l":[1,"x",4,5,6,7,8,{"m":[2]}]}`,
		},
		"what lies in a removed item goes with it": {
			`{"l":[{"m":[1]},{"m":[2]}]}`,
			[]patch.Change{{Op: "remove", Path: "l[0]"}, {Op: "remove", Path: "l[0].m[0]"}},
			`{"l":[{"m":[2]}]}`,
		},
		"changes apply in order": {
			`{"a":{"b":1}}`,
			[]patch.Change{{Op: "remove", Path: "a"}, {Op: "set", Path: "a.c", Value: 2}},
			`{"a":{"c":2}}`,
		},
		"removing what is not there changes nothing": {
			`{"a":{},"l":[]}`,
			[]patch.Change{{Op: "remove", Path: "a.b.c"}, {Op: "remove", Path: "l[3]"}, {Op: "remove", Path: "l[0].x"}},
			`{"a":{},"l":[]}`,
		},
		"null parents are replaced": {
			`{"a":null,"l":null}`,
			[]patch.Change{{Op: "set", Path: "a.b", Value: 1}, {Op: "add", Path: "l", Value: 1}, {Op: "remove", Path: "a.x.y"}},
			`{"a":{"b":1},"l":[1]}`,
		},
		"a fix for an item at the end of the list appends": {
			`{"l":[1]}`,
			[]patch.Change{{Op: "set", Path: "l[1]", Value: 2}},
			`{"l":[1,2]}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := patch.ApplyChanges([]byte(test.object), test.changes)
			if err != nil {
				t.Fatalf("got error %v, want none", err)
			}
			if string(got) != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestApplyChangesErrors(t *testing.T) {
	tests := map[string]struct {
		object string
		change patch.Change
		want   string
	}{
		"an object that is no JSON":         {`x`, patch.Change{Op: "remove", Path: "a"}, "reading the object"},
		"an unknown op":                     {`{}`, patch.Change{Op: "replace", Path: "a"}, `unknown op "replace": use set, remove or add`},
		"an empty path":                     {`{}`, patch.Change{Op: "set"}, "the path is empty"},
		"an empty part":                     {`{}`, patch.Change{Op: "set", Path: "a..b"}, "has an empty"},
		"a dot at the end":                  {`{}`, patch.Change{Op: "set", Path: "a."}, "has an empty part"},
		"a dot before a bracket":            {`{}`, patch.Change{Op: "set", Path: "a.[b]"}, "has an empty part"},
		"a dot after a bracket at the end":  {`{}`, patch.Change{Op: "set", Path: "a[b]."}, "ends in a dot"},
		"an unclosed bracket":               {`{}`, patch.Change{Op: "set", Path: "a[b"}, "unclosed"},
		"a path that is not UTF-8":          {`{}`, patch.Change{Op: "set", Path: "a\xff"}, "not UTF-8"},
		"a value that is no JSON":           {`{}`, patch.Change{Op: "set", Path: "a", Value: make(chan int)}, "as JSON"},
		"an index beyond the end":           {`{"l":[1]}`, patch.Change{Op: "set", Path: "l[2]", Value: 1}, "index 2 is beyond the end of a list of 1"},
		"a key of a list":                   {`{"l":[1]}`, patch.Change{Op: "set", Path: "l.x", Value: 1}, `"x" names a key of a list`},
		"a key of a string":                 {`{"l":"x"}`, patch.Change{Op: "set", Path: "l.x", Value: 1}, `"x" leads into a string`},
		"appending to what is no list":      {`{"l":{}}`, patch.Change{Op: "add", Path: "l", Value: 1}, "it is an object, not a list"},
		"an index with zeros before it":     {`{"l":[1]}`, patch.Change{Op: "remove", Path: "l[00]"}, `"00" names a key of a list`},
		"an index too big for this machine": {`{"l":[1]}`, patch.Change{Op: "remove", Path: "l[99999999999999999999]"}, "names a key of a list"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := patch.ApplyChanges([]byte(test.object), []patch.Change{test.change})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %s and error %v, want %q in it", got, err, test.want)
			}
		})
	}
}

func TestFormatPath(t *testing.T) {
	tests := map[string][]any{
		"spec.containers[0].image":              {"spec", "containers", 0, "image"},
		"metadata.annotations[example.com/key]": {"metadata", "annotations", "example.com/key"},
		"spec.podSelector.matchLabels[a.b/c].x": {"spec", "podSelector", "matchLabels", "a.b/c", "x"},
	}
	for want, path := range tests {
		if got := patch.FormatPath(path); got != want {
			t.Errorf("FormatPath(%v): got %s, want %s", path, got, want)
		}
	}
}

// A path that FormatPath writes leads ApplyChanges to the same place as Merge.
func FuzzPathNotation(f *testing.F) {
	f.Add("containers", "example.com/key", uint8(0))
	f.Add("a.b", "[0]", uint8(3))
	f.Fuzz(func(t *testing.T, a, b string, index uint8) {
		path := []any{a, b, "l", 0}
		if index%2 == 1 {
			path = []any{a, "l", 0, b}
		}
		merged, _, err := patch.Merge([]byte(`{}`), []patch.Edit{set("p/a", 1, path...)})
		if err != nil {
			t.Skip("no valid key")
		}
		changed, err := patch.ApplyChanges([]byte(`{}`), []patch.Change{{Op: "set", Path: patch.FormatPath(path), Value: 1}})
		if err != nil || strings.ContainsAny(a+b, "[].") || a == "0" || b == "0" {
			t.Skip("the notation has no escapes")
		}
		if !reflect.DeepEqual(tree(t, changed), tree(t, merged)) {
			t.Errorf("path %v as %s: got %s, want %s", path, patch.FormatPath(path), changed, merged)
		}
	})
}
