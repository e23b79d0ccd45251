package manifest

import (
	"strings"
	"testing"
)

const sample = `# leading comment
apiVersion: v1
kind: ConfigMap
metadata: {name: first}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    example.com/key: x
    "0": zero
spec:
  template: &t
    spec:
      containers:
      - name: a
        image: nginx
      - {name: "ü", image: b}
  other:
    <<: *t
    more: 1
  alias: *t
`

func TestPositionInYAML(t *testing.T) {
	documents, err := Read("f", strings.NewReader(sample), Limits{})
	if err != nil || len(documents) != 2 {
		t.Fatalf("got %d documents (%v), want 2", len(documents), err)
	}
	tests := map[string]string{
		"":                                       "f:6:1",
		"kind":                                   "f:7:1",
		"metadata.name":                          "f:9:3",
		"metadata.annotations[example.com/key]":  "f:11:5",
		"metadata.annotations[0]":                "f:12:5",
		"spec.template.spec.containers[0]":       "f:17:9",
		"spec.template.spec.containers[0].image": "f:18:9",
		"spec.template.spec.containers[0].securityContext.x": "f:17:9",
		"spec.template.spec.containers[1].image":             "f:19:21",
		"spec.template.spec.containers[2].image":             "f:16:7",
		"spec.template.spec.hostPID":                         "f:15:5",
		"spec.other.spec.containers[0].name":                 "f:17:9",
		"spec.alias.spec.containers[0].image":                "f:18:9",
		"nothing":                                            "f:6:1",
	}
	for path, want := range tests {
		if got := documents[1].Position(path).String(); got != want {
			t.Errorf("%q: got %s, want %s", path, got, want)
		}
	}
	if got := documents[0].Position("metadata.name").String(); got != "f:4:12" {
		t.Errorf("first document: got %s, want f:4:12", got)
	}
}

func TestPositionInJSON(t *testing.T) {
	const text = "\n{\"kind\": \"List\", \"items\": [\n  {\"kind\": \"Pod\", \"spec\": {\"containers\": [{\"ü\": 1, \"image\": \"a\"},\n    {\"image\" : \"b\"}]}}]} {\"kind\": \"Job\"}"
	documents, err := Read("f", strings.NewReader(text), Limits{})
	if err != nil || len(documents) != 2 {
		t.Fatalf("got %d documents (%v), want 2", len(documents), err)
	}
	tests := map[string]string{
		"":                         "f:3:3",
		"kind":                     "f:3:4",
		"spec.containers[0]":       "f:3:43",
		"spec.containers[0].image": "f:3:52",
		"spec.containers[1].image": "f:4:6",
		"spec.containers[1].other": "f:4:5",
		"spec.containers[7]":       "f:3:28",
	}
	for path, want := range tests {
		if got := documents[0].Position(path).String(); got != want {
			t.Errorf("%q: got %s, want %s", path, got, want)
		}
	}
	if got := documents[1].Position("kind").String(); got != "f:4:27" {
		t.Errorf("second value: got %s, want f:4:27", got)
	}
}

func TestPositionIsUnknown(t *testing.T) {
	documents, _ := Read("f", strings.NewReader("kind: A\n"), Limits{})
	if got := documents[0].Position("a..b"); !got.IsZero() {
		t.Errorf("a path that is none: got %v, want zero", got)
	}
	if got := (&Document{}).Position("a"); !got.IsZero() {
		t.Errorf("a document not read: got %v, want zero", got)
	}
}

func TestParsePath(t *testing.T) {
	tests := map[string][]Segment{
		"":                         nil,
		"spec":                     {{"spec", -1}},
		"spec.containers[0].image": {{"spec", -1}, {"containers", -1}, {"0", 0}, {"image", -1}},
		"a[example.com/key]":       {{"a", -1}, {"example.com/key", -1}},
		"a[x[0].y]":                {{"a", -1}, {"x[0", -1}, {"y]", -1}},
		"a[b]c].d":                 {{"a", -1}, {"b]c", -1}, {"d", -1}},
		"a[0][1]":                  {{"a", -1}, {"0", 0}, {"1", 1}},
		"[a b].c":                  {{"a b", -1}, {"c", -1}},
		"a[007]":                   {{"a", -1}, {"007", -1}},
		"a[]":                      {{"a", -1}, {"", -1}},
		"a[99999999999999999999]":  {{"a", -1}, {"99999999999999999999", -1}},
	}
	for path, want := range tests {
		got, err := ParsePath(path)
		if err != nil || len(got) != len(want) {
			t.Errorf("%q: got %v (%v), want %v", path, got, err, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%q: got %v, want %v", path, got, want)
			}
		}
	}
	for _, path := range []string{".", "a.", ".a", "a..b", "a[0", "a.[0]", "a[0]b"} {
		if got, err := ParsePath(path); err == nil {
			t.Errorf("%q: got %v, want an error", path, got)
		}
	}
}

func TestGet(t *testing.T) {
	const object = `{"a": {"b/c": [ {"d" : 1} , "x" ]}, "e": null}`
	tests := map[string]string{
		"": object, "a": `{"b/c": [ {"d" : 1} , "x" ]}`, "a[b/c]": `[ {"d" : 1} , "x" ]`, "a[b/c][0].d": "1", "a[b/c][1]": `"x"`, "e": "null",
	}
	for path, want := range tests {
		if got, ok := Get([]byte(object), path); !ok || string(got) != want {
			t.Errorf("%q: got %q (%t), want %q", path, got, ok, want)
		}
	}
	for _, path := range []string{"b", "a.b", "a[b/c][2]", "a[b/c][0].d.e", "e.f", "a[b/c].x", "a..b"} {
		if got, ok := Get([]byte(object), path); ok {
			t.Errorf("%q: got %q, want nothing", path, got)
		}
	}
}

func TestJoinPathIsWhatParsePathReads(t *testing.T) {
	for _, path := range []string{"", "spec.containers[0].image", "metadata.annotations[example.com/key]", "a[0][1].b", "[a b].c"} {
		segments, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := JoinPath(segments); got != path {
			t.Errorf("got %q, want %q", got, path)
		}
	}
}
