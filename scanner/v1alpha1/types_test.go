package v1alpha1

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func definition(t *testing.T) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	first, _, _ := strings.Cut(string(Manifest), "\n---\n")
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict([]byte(first), &crd); err != nil {
		t.Fatal(err)
	}
	return &crd
}

func TestTheDefinitionIsOfThisPackage(t *testing.T) {
	crd := definition(t)
	if got, want := crd.Name, Resource.Resource+"."+Resource.Group; got != want {
		t.Errorf("its name is %q, want %q", got, want)
	}
	if crd.Spec.Group != GroupVersion.Group || crd.Spec.Names.Kind != Kind || crd.Spec.Scope != apiextensionsv1.ClusterScoped {
		t.Errorf("it defines %s %s (%s), want %s %s for the cluster", crd.Spec.Group, crd.Spec.Names.Kind, crd.Spec.Scope, GroupVersion.Group, Kind)
	}
	if len(crd.Spec.Versions) != 1 || crd.Spec.Versions[0].Name != GroupVersion.Version || crd.Spec.Versions[0].Subresources.Status == nil {
		t.Errorf("its versions are %+v, want %s with a status of its own", crd.Spec.Versions, GroupVersion.Version)
	}
}

// A field that the schema lacks is pruned by the API server without a word.
func TestTheSchemaHasTheFieldsOfTheTypes(t *testing.T) {
	root := definition(t).Spec.Versions[0].Schema.OpenAPIV3Schema
	compare(t, "spec", reflect.TypeFor[ImageScanSpec](), root.Properties["spec"])
	compare(t, "status", reflect.TypeFor[ImageScanStatus](), root.Properties["status"])
}

func compare(t *testing.T, path string, of reflect.Type, schema apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	var fields, required []string
	for field := range of.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		fields = append(fields, name)
		if options != "omitempty" {
			required = append(required, name)
		}
		want := "string"
		switch kind := field.Type; {
		case kind == reflect.TypeFor[metav1.Time](), kind == reflect.TypeFor[*metav1.Time](), kind == reflect.TypeFor[[]byte]():
		case kind.Kind() == reflect.Slice:
			want = "array"
		case kind.Kind() == reflect.Int64:
			want = "integer"
		case kind.Kind() == reflect.Bool:
			want = "boolean"
		case kind.Kind() == reflect.Pointer && kind.Elem().Kind() == reflect.Struct:
			want = "object"
			compare(t, path+"."+name, kind.Elem(), schema.Properties[name])
		}
		if got := schema.Properties[name].Type; got != want {
			t.Errorf("%s.%s is of type %q in the schema, want %q", path, name, got, want)
		}
	}
	slices.Sort(fields)
	if got := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(got, fields) {
		t.Errorf("%s has the fields %q in the schema, want %q", path, got, fields)
	}
	slices.Sort(required)
	if got := slices.Sorted(slices.Values(schema.Required)); !slices.Equal(got, required) {
		t.Errorf("%s requires %q, want %q", path, got, required)
	}
}

func TestNames(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	if got, err := Name("sha256:" + hex); err != nil || got != "sha256-"+hex {
		t.Errorf("got %q, %v, want sha256-%s", got, err, hex)
	}
	for what, digest := range map[string]string{"none": "", "upper case": "sha256:" + strings.Repeat("0A", 32), "short": "sha256:0a", "another algorithm": "sha512:" + strings.Repeat(hex, 2), "a path": "sha256:../" + hex[3:]} {
		if got, err := Name(digest); err == nil {
			t.Errorf("%s: got the name %q for %q, want an error", what, got, digest)
		}
	}
}
