package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/portcullis-dev/portcullis/secrets/content"
)

// checkSecretsWhy holds a report to the published schema, which refuses fields that it does not have.
func checkSecretsWhy(t *testing.T, report string) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/secrets-why.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(report))
	if err != nil {
		t.Fatalf("%v in %s", err, report)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("%s: %v", report, err)
	}
}

func TestWhyASecretIsNotSyncedFollowsItsSchema(t *testing.T) {
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(`
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultConnection, metadata: {name: main}, spec: {address: "https://vault", allowedNamespaces: [shop]}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultAuth, metadata: {name: vault, namespace: shop}, spec: {connection: main, kubernetes: {role: shop, serviceAccount: vault}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultSecret, metadata: {name: denied, namespace: shop}, spec: {auth: vault, source: {kv: {mount: secret, path: web/db}}, destination: {}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultSecret, metadata: {name: unknown, namespace: shop}, spec: {auth: other, source: {}, destination: {}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultPush, metadata: {name: made, namespace: shop}, spec: {auth: vault, destination: {mount: secret, path: shop/made}, generate: {password: {}}}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"secrets", "why", "--filename", file, "--format", "json"}, strings.NewReader(""), &stdout, &stderr); code != 1 {
		t.Errorf("got exit code %d: %s, want 1", code, &stderr)
	}
	checkSecretsWhy(t, stdout.String())
}

// reasonConstant is a reason as package secrets declares it.
var reasonConstant = regexp.MustCompile(`(?m)^\t([A-Z]\w+) +Reason = "(\w+)"`)

func TestEveryReasonIsExplainedAlikeHereAndInTheManual(t *testing.T) {
	declared, err := os.ReadFile("../../secrets/error.go")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../../docs/secrets.md")
	if err != nil {
		t.Fatal(err)
	}
	reasons := reasonConstant.FindAllSubmatch(declared, -1)
	if len(reasons) != len(secretReasons) || len(reasons) < 20 {
		t.Errorf("got %d reasons explained, want the %d that there are", len(secretReasons), len(reasons))
	}
	for _, match := range reasons {
		reason := string(match[2])
		known, ok := reasonOf(reason)
		if !ok {
			t.Errorf("%s is not explained", reason)
			continue
		}
		if row := "| `" + reason + "` | " + known.meaning + " | " + known.next + " |"; !strings.Contains(string(manual), row) {
			t.Errorf("got no row %q in docs/secrets.md, want one", row)
		}
	}
}

func TestTheManualListsTheFunctionsOfTemplates(t *testing.T) {
	manual, err := os.ReadFile("../../docs/secrets.md")
	if err != nil {
		t.Fatal(err)
	}
	if list := "Functions: `" + strings.Join(content.Functions(), "`, `") + "`."; !strings.Contains(string(manual), list) {
		t.Errorf("got no %q in docs/secrets.md, want it", list)
	}
}
