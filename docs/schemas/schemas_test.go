package schemas

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
)

var update = flag.Bool("update", false, "write the schemas anew")

func sortedStrings(names []string) []string { return slices.Sorted(slices.Values(names)) }

// published are all schemas, as the types say now.
func published(t *testing.T) map[string]any {
	t.Helper()
	g := &generator{}
	kind := func(kind string) map[string]any {
		return map[string]any{"apiVersion": policies.APIVersion, "kind": kind, "name": nil}
	}
	bundle := kind("Bundle")
	bundle["serial"] = nil
	exception := kind("Exception")
	for _, field := range []string{"policy", "selector", "reason", "owner", "expires"} {
		exception[field] = nil
	}
	all := map[string]any{
		"bundle":       g.document("bundle.yaml of a policy bundle", reflect.TypeFor[policies.Manifest](), bundle),
		"exception":    g.document("an exception of a policy bundle", reflect.TypeFor[policies.Exception](), exception, "grant"),
		"trust":        g.document("who is trusted with images: the section trust of bundle.yaml", reflect.TypeFor[signer.Trust](), map[string]any{"authorities": nil}),
		"verification": g.document("who must have signed a bundle: the section verification of a PolicyBundle", reflect.TypeFor[v1alpha1.Verification](), nil),
		"metadata":     g.document("what stands below custom in the metadata of a policy", reflect.TypeFor[policies.Declarations](), map[string]any{"severity": nil, "match": nil, "remediation": nil}),
	}
	for name, schema := range objects(t) {
		all[name] = schema
	}
	return all
}

// objects are the schemas of the objects that people write into a cluster.
func objects(t *testing.T) map[string]any {
	t.Helper()
	found := map[string]any{}
	for _, manifest := range strings.Split(string(v1alpha1.Manifest), "\n---\n") {
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal([]byte(manifest), &definition); err != nil {
			t.Fatal(err)
		}
		kind := definition.Spec.Names.Kind
		if kind != "PolicyBundle" && kind != "PolicyException" {
			continue
		}
		raw, err := json.Marshal(definition.Spec.Versions[0].Schema.OpenAPIV3Schema)
		if err != nil {
			t.Fatal(err)
		}
		var schema map[string]any
		if err := json.Unmarshal(raw, &schema); err != nil {
			t.Fatal(err)
		}
		properties := schema["properties"].(map[string]any)
		delete(properties, "status") // programs write it
		properties["apiVersion"] = map[string]any{"type": "string", "const": v1alpha1.GroupVersion.String()}
		properties["kind"] = map[string]any{"type": "string", "const": kind}
		properties["metadata"] = map[string]any{"type": "object"}
		schema["required"] = []any{"apiVersion", "kind", "metadata", "spec"}
		schema["$schema"], schema["title"] = "http://json-schema.org/draft-07/schema#", kind
		found[strings.ToLower(kind)] = withoutExtensions(schema)
	}
	if len(found) != 2 {
		t.Fatalf("got the schemas %v, want those of PolicyBundle and PolicyException", slices.Sorted(maps.Keys(found)))
	}
	return found
}

// withoutExtensions removes what only an API server understands, and closes objects as it does by pruning.
func withoutExtensions(schema any) any {
	switch schema := schema.(type) {
	case map[string]any:
		open := schema["x-kubernetes-preserve-unknown-fields"] == true
		for key, value := range schema {
			if strings.HasPrefix(key, "x-kubernetes-") {
				delete(schema, key)
				continue
			}
			schema[key] = withoutExtensions(value)
		}
		if fields, ok := schema["properties"].(map[string]any); ok && len(fields) > 0 && schema["additionalProperties"] == nil && schema["type"] == "object" && !open {
			schema["additionalProperties"] = false
		}
		if schema["nullable"] == true {
			delete(schema, "nullable")
		}
	case []any:
		for n := range schema {
			schema[n] = withoutExtensions(schema[n])
		}
	}
	return schema
}

func TestThePublishedSchemasAreThoseOfTheTypes(t *testing.T) {
	all := published(t)
	for name, schema := range all {
		want, err := encode(schema)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(name+suffix, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := Schema(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s%s is not what the types say (%v): run make golden", name, suffix, err)
		}
	}
	if got, want := Names(), slices.Sorted(maps.Keys(all)); !*update && !slices.Equal(got, want) {
		t.Errorf("got the schemas %v, want %v", got, want)
	}
}

func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	if *update {
		t.Skip("the schemas that are compiled in are being replaced")
	}
	raw, err := Schema(name)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("urn:"+name, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("urn:" + name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// check validates a YAML document.
func check(t *testing.T, schema *jsonschema.Schema, document string) error {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

func TestTheBundleOfTheLibraryIsValid(t *testing.T) {
	content, err := os.ReadFile(root + "policies/library/bundle.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := check(t, compile(t, "bundle"), string(content)); err != nil {
		t.Error(err)
	}
}

func TestASchemaTellsRightFromWrong(t *testing.T) {
	const head = "apiVersion: policy.portcullis.dev/v1alpha1\n"
	for name, row := range map[string]struct {
		schema, document string
		valid            bool
	}{
		"a bundle":                               {"bundle", head + "kind: Bundle\nname: a\nserial: 1\npolicies: [{policy: a/b, enforcement: warn, ramp: {warnUntil: 2027-01-31}}]\n", true},
		"a bundle with a field that is unknown":  {"bundle", head + "kind: Bundle\nname: a\nserial: 1\npolicy: []\n", false},
		"a bundle of another kind":               {"bundle", head + "kind: Bundel\nname: a\nserial: 1\n", false},
		"a bundle without a serial":              {"bundle", head + "kind: Bundle\nname: a\n", false},
		"an enforcement that there is not":       {"bundle", head + "kind: Bundle\nname: a\nserial: 1\npolicies: [{policy: a/b, enforcement: maybe}]\n", false},
		"an exception":                           {"exception", head + "kind: Exception\nname: a\npolicy: a/b\nselector: {namespaces: [a]}\nreason: r\nowner: o\nexpires: 2027-01-31\n", true},
		"an exception that never expires":        {"exception", head + "kind: Exception\nname: a\npolicy: a/b\nselector: {namespaces: [a]}\nreason: r\nowner: o\n", false},
		"a verification by SSH":                  {"verification", "allowedSigners: |\n  a@example.com ssh-ed25519 AAAA\n", true},
		"a verification with a spelling mistake": {"verification", "allowedSigner: x\n", false},
		"trust":                                  {"trust", "authorities: [{name: a, images: ['**'], keys: [{pem: x}]}]\n", true},
		"trust without images":                   {"trust", "authorities: [{name: a}]\n", false},
		"metadata of a policy":                   {"metadata", "severity: high\nmatch: {workload: any}\nremediation: Mend it.\n", true},
		"metadata without a severity":            {"metadata", "match: {workload: any}\nremediation: Mend it.\n", false},
		"an object of a cluster":                 {"policybundle", head + "kind: PolicyBundle\nmetadata: {name: a}\nspec: {source: {git: {url: https://git.example.com/a, branch: main}}, verification: {pgpKeys: x}}\n", true},
		"an object with a spelling mistake":      {"policybundle", head + "kind: PolicyBundle\nmetadata: {name: a}\nspec: {source: {git: {url: https://git.example.com/a, brunch: main}}, verification: {pgpKeys: x}}\n", false},
		"an exception of a cluster":              {"policyexception", head + "kind: PolicyException\nmetadata: {name: a}\nspec: {policy: a/b, selector: {namespaces: [a]}, reason: r, owner: o, expires: '2027-01-31'}\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := check(t, compile(t, row.schema), row.document); (err == nil) != row.valid {
				t.Errorf("got %v, want valid %v", err, row.valid)
			}
		})
	}
}

func TestAnUnknownSchemaIsNamedWithThoseThereAre(t *testing.T) {
	if _, err := Schema("bundel"); err == nil || !strings.Contains(err.Error(), "use one of bundle, exception") {
		t.Errorf("got %v, want the names of all", err)
	}
}
