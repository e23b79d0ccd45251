package policies

import (
	"reflect"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Findings are read without JSON where they can be, and by way of it where not: both
// must understand the same.
func TestAFindingReadDirectlyIsTheOneThatJSONGives(t *testing.T) {
	for name, c := range map[string]struct {
		term   string
		direct bool
	}{
		"as policies write them": {`{"msg": "m", "path": "spec.a", "remediation": "r", "fix": [{"op": "set", "path": "spec.a", "value": 65532}, {"op": "remove", "path": "spec.b"}]}`, true},
		"a value of every kind":  {`{"msg": "m", "fix": [{"op": "set", "path": "a", "value": {"a": [1, 1.5, true, null, "x"], "b": {}}}]}`, true},
		"an empty fix":           {`{"msg": "m", "fix": []}`, true},
		"nothing but a message":  {`{"msg": "m"}`, true},
		"with details":           {`{"msg": "m", "details": {"a": 1}}`, false},
		"a fix that is a set":    {`{"msg": "m", "fix": {{"op": "remove", "path": "a"}}}`, false},
		"an unknown field":       {`{"msg": "m", "colour": "red"}`, false},
		"a message that is none": {`{"msg": 1}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			term := ast.MustParseTerm(c.term)
			got, ok := readFinding(term)
			if ok != c.direct {
				t.Fatalf("read directly: got %t, want %t", ok, c.direct)
			}
			if !ok {
				return
			}
			var want ruleFinding
			if err := decodeTerm(term, &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %#v, want %#v", got, want)
			}
		})
	}
}
