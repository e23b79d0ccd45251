package manifest

import (
	"strings"
	"testing"
)

func TestReadExpandsStreams(t *testing.T) {
	tests := map[string]struct {
		in   string
		want []string // kind/name@line:column
	}{
		"one YAML document":                 {"kind: Pod\nmetadata: {name: a}\n", []string{"Pod/a@1:1"}},
		"two documents and a comment":       {"# hi\n---\nkind: Pod\nmetadata: {name: a}\n---\n# nothing\n---\nkind: Job\nmetadata: {name: b}\n", []string{"Pod/a@3:1", "Job/b@8:1"}},
		"JSON":                              {`{"kind":"Pod","metadata":{"name":"a"}}`, []string{"Pod/a@1:1"}},
		"JSON values one after the other":   {"{\"kind\":\"Pod\"}\n {\"kind\":\"Job\"}", []string{"Pod/@1:1", "Job/@2:2"}},
		"a YAML list":                       {"kind: List\nitems:\n- kind: Pod\n  metadata: {name: a}\n- kind: Job\n", []string{"Pod/a@3:3", "Job/@5:3"}},
		"a typed list gives items its kind": {"apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n", []string{"Pod/a@4:3"}},
		"a list in a list":                  {"kind: List\nitems:\n- kind: List\n  items:\n  - kind: Pod\n", []string{"Pod/@5:5"}},
		"flow YAML":                         {"{kind: Pod, metadata: {name: a}}", []string{"Pod/a@1:1"}},
		"a byte order mark":                 {"\xef\xbb\xbfkind: Pod\n", []string{"Pod/@1:1"}},
		"carriage returns":                  {"kind: Pod\r\n---\r\nkind: Job\r\n", []string{"Pod/@1:1", "Job/@3:1"}},
		"nothing":                           {"", nil},
		"only separators":                   {"---\n---\n", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			documents, err := Read("f", strings.NewReader(test.in), Limits{})
			if err != nil {
				t.Fatalf("got error %v, want none", err)
			}
			var got []string
			for _, d := range documents {
				p := d.Position("")
				got = append(got, d.Kind+"/"+d.Name+"@"+strings.TrimPrefix(p.String(), "f:"))
			}
			if strings.Join(got, " ") != strings.Join(test.want, " ") {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
