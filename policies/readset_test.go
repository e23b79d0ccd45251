package policies

import (
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Rules with a constant key beside rules with a computed one are read too: OPA keeps
// them in another node of its rule tree, where looking up x[key] does not lead.
func TestAReferenceWithAComputedKeyReadsTheRulesWithConstantKeys(t *testing.T) {
	module := ast.MustParseModule(`package portcullis.test.keys

deny contains path if {
	some path, place in places
	place.bad
}

places["spec"] := input.object.spec

places[path] := place if {
	some i, place in input.object.specs
	path := sprintf("specs[%d]", [i])
}`)
	compiler := ast.NewCompiler()
	if compiler.Compile(map[string]*ast.Module{"policy.rego": module}); compiler.Failed() {
		t.Fatal(compiler.Errors)
	}
	reads, err := deriveReadSet(compiler, compiler.GetRulesExact(ast.MustParseRef("data.portcullis.test.keys.deny")))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"spec", "specs"} {
		if reads.at("object", field) == nil {
			t.Errorf("input.object.%s is not in the read set", field)
		}
	}
}
