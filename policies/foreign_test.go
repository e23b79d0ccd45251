package policies_test

import (
	"slices"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/policies"
)

func TestTheSandboxOfForeignPoliciesHasNoWorldOutside(t *testing.T) {
	sandbox := policies.Sandbox()
	has := func(name string) bool {
		return slices.ContainsFunc(sandbox.Builtins, func(b *ast.Builtin) bool { return b.Name == name })
	}
	for _, name := range []string{"http.send", "net.lookup_ip_addr", "opa.runtime", "rego.parse_module", "rand.intn", "trace", "yaml.unmarshal", "numbers.range"} {
		if has(name) {
			t.Errorf("got %s in the sandbox, want none", name)
		}
	}
	for _, name := range []string{"sprintf", "re_match", "any"} {
		if !has(name) {
			t.Errorf("got no %s in the sandbox, want it", name)
		}
	}
	if sandbox.AllowNet == nil || len(sandbox.AllowNet) > 0 {
		t.Errorf("got hosts %v, want none allowed", sandbox.AllowNet)
	}
	sandbox.Builtins = nil
	if len(policies.Sandbox().Builtins) == 0 {
		t.Error("got a sandbox that whoever asked before has emptied")
	}
}

func TestForeignPoliciesAreCheckedForWhatCapabilitiesCannotHold(t *testing.T) {
	cases := map[string]struct {
		rule string
		want int
	}{
		"a plain format passes":                      {`sprintf("%v", [input.x])`, 0},
		"a computed format is refused":               {`sprintf(input.x, [1])`, 1},
		"a huge width is refused":                    {`sprintf("%9999999d", [1])`, 1},
		"a pattern that does not compile is refused": {`regex.match("(", input.x)`, 1},
		"a pattern that compiles passes":             {`regex.match("^a", input.x)`, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			module := ast.MustParseModuleWithOpts("package main\ndeny contains "+c.rule, ast.ParserOptions{RegoVersion: ast.RegoV1})
			if got := policies.CheckSandboxed(module); len(got) != c.want {
				t.Errorf("got %v, want %d problems", got, c.want)
			}
		})
	}
}
