package archive_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"

	"github.com/portcullis-dev/portcullis/policies/archive"
)

const module = "package pods\n\ndeny contains \"no\" if input.x\n"

// What "opa build" writes is read, and what we write is a bundle to OPA.
func TestOPAAndWeReadEachOther(t *testing.T) {
	parsed, err := ast.ParseModule("pods/policy.rego", module)
	if err != nil {
		t.Fatal(err)
	}
	theirs := bundle.Bundle{
		Manifest: bundle.Manifest{Revision: "7", Roots: &[]string{"pods", "limits"}},
		Data:     map[string]any{"limits": map[string]any{"replicas": 3}},
		Modules:  []bundle.ModuleFile{{URL: "/pods/policy.rego", Path: "/pods/policy.rego", Raw: []byte(module), Parsed: parsed}},
	}
	var packed bytes.Buffer
	if err := bundle.NewWriter(&packed).Write(theirs); err != nil {
		t.Fatal(err)
	}
	tree, err := archive.Unpack(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"data.json", "pods/policy.rego"}; !slices.Equal(tree.Names(), want) {
		t.Errorf("got %q, want %q", tree.Names(), want)
	}

	packed.Reset()
	ours := newTree(t, map[string][]byte{"bundle.yaml": []byte("name: acme\n"), "pods/policy.rego": []byte(module), "limits/data.json": []byte(`{"replicas": 3}`)})
	if err := ours.Pack(&packed); err != nil {
		t.Fatal(err)
	}
	read, err := bundle.NewReader(&packed).Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Modules) != 1 || string(read.Modules[0].Raw) != module {
		t.Errorf("OPA got %d modules, want one as it was", len(read.Modules))
	}
	if limits, _ := read.Data["limits"].(map[string]any); limits["replicas"] == nil {
		t.Errorf("OPA got the data %v, want the limits", read.Data)
	}
}
