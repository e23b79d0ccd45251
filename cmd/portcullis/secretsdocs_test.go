package main

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/content"
	"github.com/portcullis-dev/portcullis/secrets/engine"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// yamlBlock is an example on a page, also an indented one.
var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

func TestExamplesInTheManualsAreObjectsThatMakeSense(t *testing.T) {
	kinds := map[string]int{}
	for _, page := range []string{"../../docs/secrets.md", "../../docs/vault.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			for document := range strings.SplitSeq(block[1], "---\n") {
				switch {
				case strings.HasPrefix(document, "destination:"), strings.HasPrefix(document, "rotation:"):
					document = "spec:\n  auth: vault\n  source: {kv: {mount: secret, path: shop/db}}\n  " + strings.ReplaceAll(document, "\n", "\n  ")
					fallthrough
				case strings.HasPrefix(document, "spec:"):
					example := "VaultSecret"
					if strings.Contains(document, "\n  secret:") {
						example = "VaultPush"
					}
					document = "apiVersion: secrets.portcullis.dev/v1alpha1\nkind: " + example + "\nmetadata: {name: db, namespace: shop}\n" + document
				}
				if !strings.Contains(document, "secrets.portcullis.dev/v1alpha1") {
					continue
				}
				var is struct {
					Kind string `json:"kind"`
				}
				if err := yaml.Unmarshal([]byte(document), &is); err != nil {
					t.Errorf("%s: %v in\n%s", page, err, document)
					continue
				}
				kinds[is.Kind]++
				if err := checkExample(is.Kind, document); err != nil {
					t.Errorf("%s: %v in\n%s", page, err, document)
				}
			}
		}
	}
	if kinds["VaultConnection"] < 3 || kinds["VaultAuth"] < 4 || kinds["VaultSecret"] < 9 || kinds["VaultPush"] < 2 {
		t.Errorf("got %v, want more examples: they were not found", kinds)
	}
}

func checkExample(kind, document string) error {
	switch kind {
	case "VaultConnection":
		return yaml.UnmarshalStrict([]byte(document), &v1alpha1.VaultConnection{})
	case "VaultAuth":
		return yaml.UnmarshalStrict([]byte(document), &v1alpha1.VaultAuth{})
	case "VaultPush":
		var push v1alpha1.VaultPush
		if err := yaml.UnmarshalStrict([]byte(document), &push); err != nil {
			return err
		}
		_, err := engine.PushPlace(&push.Spec.Destination)
		return errors.Join(err, v1alpha1.CheckPush(&push))
	}
	var secret v1alpha1.VaultSecret
	if err := yaml.UnmarshalStrict([]byte(document), &secret); err != nil {
		return err
	}
	if _, err := engine.Place(&secret.Spec.Source); err != nil {
		return err
	}
	if err := errors.Join(v1alpha1.CheckSecret(&secret), content.Check(&secret.Spec.Destination)); err != nil || len(secret.Spec.Destination.Templates) == 0 {
		return err
	}
	_, err := content.Make(context.Background(), secrets.Data{"username": secrets.ValueOf("shop"), "password": secrets.ValueOf("p"), "hosts": secrets.ValueOf(`["a"]`)}, &secret.Spec.Destination)
	return err
}
