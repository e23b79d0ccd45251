package conftest

import (
	"testing"
	"testing/fstest"
)

// Rego v0 takes the keywords of v1 where they are imported, which is how files that run under both are written.
func TestKeywordsAreImportedInRegoV0(t *testing.T) {
	for name, rule := range map[string]string{
		"if and contains": "import future.keywords.if\nimport future.keywords.contains\n\ndeny contains \"no\" if input.kind == \"Pod\"",
		"in":              "import future.keywords.in\n\ndeny[msg] { some c in input.spec.containers; msg := c.name }",
		"all":             "import future.keywords\n\ndeny contains \"no\" if \"x\" in input.list",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(fstest.MapFS{"conftest.toml": {Data: []byte("rego-version = \"v0\"\n")}, "x.rego": {Data: []byte("package main\n\n" + rule + "\n")}}, Options{})
			if err != nil {
				t.Errorf("got %v, want it to load", err)
			}
		})
	}
}
