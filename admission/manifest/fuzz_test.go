package manifest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// FuzzRead holds the reader against sigs.k8s.io/yaml, which is what kubectl uses,
// and looks up positions in whatever is read.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		sample, billionLaughs(), "kind: Pod\n---\n{\"kind\":\"Job\"}\n", "kind: List\nitems:\n- {a: yes, b: 0777, c: 1e3, d: ~}\n", "{a: b}", "a: &x [1]\nb: *x\n",
		"? a\n: b\n", "a: !!binary aGk=\n", "a: 2001-01-01\n1: x\ntrue: y\n1.5: z\n", "--- # c\na: |\n  x\n...\n", "\xef\xbb\xbfa: b", "a: <<\n<<: {b: c}\n",
	} {
		f.Add(seed)
	}
	limits := Limits{Bytes: 1 << 16, Nodes: 10_000, Depth: 100, Documents: 100, Stream: 1 << 17}
	f.Fuzz(func(t *testing.T, text string) {
		documents, err := Read("f", strings.NewReader(text), limits)
		for i := range documents {
			d := &documents[i]
			if !json.Valid(d.JSON) {
				t.Fatalf("got invalid JSON %q", d.JSON)
			}
			for _, path := range []string{"", "kind", "a", "items[0]", "spec.containers[0].image"} {
				p := d.Position(path)
				if p.IsZero() || p.Line < 1 || p.Line > strings.Count(text, "\n")+1 || p.Column < 1 {
					t.Fatalf("position of %q: got %v", path, p)
				}
			}
		}
		if err != nil || len(documents) != 1 || strings.Contains(text, "---") || len(documents[0].within) > 0 {
			return
		}
		want, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			return // JSON that is no YAML
		}
		if !same(t, documents[0].JSON, want) {
			t.Fatalf("got  %s\nwant %s", documents[0].JSON, want)
		}
	})
}

// same compares two JSON texts by value, numbers by their text in Go.
func same(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.NewDecoder(bytes.NewReader(a)).Decode(&x); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func BenchmarkReadDeployment(b *testing.B) {
	text := sample[strings.Index(sample, "---\n")+4:]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read("f", strings.NewReader(text), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
