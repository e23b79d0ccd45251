package sample_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/sample"
)

// block is the first code block of a language below a heading of docs/policies.md that holds a text.
func block(t *testing.T, heading, language, holding string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, below, found := strings.Cut(string(page), "\n"+heading+"\n")
	for found {
		var code string
		if _, below, found = strings.Cut(below, "\n```"+language+"\n"); !found {
			break
		}
		if code, below, _ = strings.Cut(below, "\n```\n"); strings.Contains(code, holding) {
			return code + "\n"
		}
	}
	t.Fatalf("got no %s below %q of docs/policies.md, want one with %q", language, heading, holding)
	return ""
}

func TestTheExampleOfARespondPolicyPassesTheExampleOfASample(t *testing.T) {
	files := fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\npolicies: [{policy: acme/shells}]\n" +
			block(t, "## Responses to events", "yaml", "response:"))},
		"shells/policy.rego":                   {Data: []byte(block(t, "## Responses to events", "rego", "respond contains"))},
		"shells/testdata/respond/example.yaml": {Data: []byte(block(t, "### Samples with events", "yaml", "RuntimeEvent"))},
	}
	bundle, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	suite, err := sample.Load(files, bundle.Policies["acme/shells"])
	if err != nil {
		t.Fatal(err)
	}
	only, err := suite.Only(bundle)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(only)
	if err != nil {
		t.Fatal(err)
	}
	if err := suite.Samples[0].Run(t.Context(), engine); err != nil {
		t.Error(err)
	}
}

func TestTheExampleOfAPolicyAboutSyncsPassesTheExampleOfASample(t *testing.T) {
	files := fstest.MapFS{
		"bundle.yaml":                     {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\npolicies: [{policy: acme/own-paths}]\n")},
		"paths/policy.rego":               {Data: []byte(block(t, "## Syncs of secrets", "rego", "allow_sync contains"))},
		"paths/testdata/permit/a.yaml":    {Data: []byte(block(t, "### Samples with syncs", "yaml", "SecretSync"))},
		"paths/testdata/refuse/old.yaml":  {Data: []byte(strings.Replace(block(t, "### Samples with syncs", "yaml", "SecretSync"), "3600", "31536001", 1))},
		"paths/testdata/refuse/path.yaml": {Data: []byte(strings.Replace(block(t, "### Samples with syncs", "yaml", "SecretSync"), "shop/db", "web/shop/db", 1))},
	}
	bundle, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	suite, err := sample.Load(files, bundle.Policies["acme/own-paths"])
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range suite.Samples {
		if err := one.Run(t.Context(), engine); err != nil {
			t.Error(err)
		}
	}
}
