package stored

import (
	"encoding/json"
	"reflect"
	"testing"
)

var configMaps = Kind{Version: "v1", Kind: "ConfigMap", Resource: "configmaps", Namespaced: true}

const item = `{"metadata":{"name":"a","namespace":"shop","uid":"u","resourceVersion":"7","managedFields":[{"manager":"x"}],
	"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"a\":1}","kept":"yes <&>"}},"data":{"colour":"red"},"status":{"phase":"Bound","n":1}}`

func TestAnObjectIsCopiedWithoutWhatNobodyReads(t *testing.T) {
	object, err := configMaps.object([]byte(item))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"shop","uid":"u","resourceVersion":"7","annotations":{"kept":"yes <&>"}},"data":{"colour":"red"},"status":{"phase":"Bound","n":1}}`
	if string(object.Raw) != want || object.Name != "a" || object.Namespace != "shop" || object.UID != "u" || object.ResourceVersion != "7" {
		t.Errorf("got %+v\n%s\nwant\n%s", object, object.Raw, want)
	}
}

func TestTheHashIsOfWhatIsWantedAndOfWhetherItRuns(t *testing.T) {
	of := func(text string) uint64 {
		object, err := configMaps.object([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return object.Content
	}
	base := of(`{"metadata":{"name":"a","resourceVersion":"1"},"data":{"x":"1"},"status":{"phase":"Running","n":1}}`)
	for name, test := range map[string]struct {
		text string
		same bool
	}{
		"another version": {`{"metadata":{"name":"a","resourceVersion":"2","generation":3,"managedFields":[]},"data":{"x":"1"},"status":{"phase":"Running","n":1}}`, true},
		"another status":  {`{"metadata":{"name":"a","resourceVersion":"1"},"data":{"x":"1"},"status":{"phase":"Running","n":2}}`, true},
		"it has ended":    {`{"metadata":{"name":"a","resourceVersion":"1"},"data":{"x":"1"},"status":{"phase":"Failed","n":1}}`, false},
		"other content":   {`{"metadata":{"name":"a","resourceVersion":"1"},"data":{"x":"2"},"status":{"phase":"Running","n":1}}`, false},
		"another label":   {`{"metadata":{"name":"a","labels":{"x":"y"}},"data":{"x":"1"},"status":{"phase":"Running","n":1}}`, false},
		"another owner":   {`{"metadata":{"name":"a","ownerReferences":[{"uid":"u"}]},"data":{"x":"1"},"status":{"phase":"Running","n":1}}`, false},
		"another field":   {`{"metadata":{"name":"a"},"binaryData":{"x":"1"},"status":{"phase":"Running","n":1}}`, false},
	} {
		if got := of(test.text) == base; got != test.same {
			t.Errorf("%s: got the same hash: %t, want %t", name, got, test.same)
		}
	}
}

// FuzzObject compares with decoding, dropping and encoding.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{item, `{}`, `{"metadata":null}`, `{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":1}}}`, `{"kind":"X","apiVersion":1,"metadata":{}}`, `[]`, `{"metadata":{"managedFields":1,"a":{}},"a":[1,{"b":null}]}`, `{"metadata":[]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		object, err := configMaps.object(content)
		if err != nil {
			return
		}
		var got, want map[string]any
		if err := json.Unmarshal(object.Raw, &got); err != nil {
			t.Fatalf("%q became %q, which is no JSON: %v", content, object.Raw, err)
		}
		if err := json.Unmarshal(content, &want); err != nil {
			t.Fatalf("%q was taken and is no JSON: %v", content, err)
		}
		want["apiVersion"], want["kind"] = "v1", "ConfigMap"
		if metadata, ok := want["metadata"].(map[string]any); ok {
			delete(metadata, "managedFields")
			if annotations, ok := metadata["annotations"].(map[string]any); ok {
				delete(annotations, lastApplied)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q became %q, want %v", content, object.Raw, want)
		}
	})
}
