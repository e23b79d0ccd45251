// Package definitions holds definitions of custom resources to the Go types of their objects: a field that a schema lacks is pruned by the
// API server without a word, and one that the type lacks is read by nobody.
package definitions

import (
	"encoding"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// Read gives the definitions of a manifest by name: "policybundles.policy.portcullis.dev".
func Read(t testing.TB, manifest []byte) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	found := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for document := range strings.SplitSeq(string(manifest), "\n---\n") {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict([]byte(document), &crd); err != nil {
			t.Fatal(err)
		}
		found[crd.Name] = &crd
	}
	return found
}

// Type is what a definition has to be.
type Type struct {
	Resource schema.GroupVersionResource
	// Of is the Go type, whose name is the kind.
	Of         reflect.Type
	Namespaced bool
	// Status says that the status is a subresource.
	Status bool
	// Bounded says that each list has a greatest length.
	Bounded bool
	// End is a field of a type that holds itself, at which the schema ends: "Quarantine.spec.owner.direct.direct".
	End string
}

// Hold fails for each way in which a manifest differs from types: all that it defines.
func Hold(t testing.TB, manifest []byte, types ...Type) {
	t.Helper()
	defined := Read(t, manifest)
	for _, want := range types {
		name := want.Resource.GroupResource().String()
		if crd := defined[name]; crd == nil {
			t.Errorf("no definition of %s", name)
		} else {
			want.hold(t, crd)
		}
		delete(defined, name)
	}
	for name := range defined {
		t.Errorf("there is a definition of %s, and no type", name)
	}
}

func (w Type) hold(t testing.TB, crd *apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	scope := apiextensionsv1.ClusterScoped
	if w.Namespaced {
		scope = apiextensionsv1.NamespaceScoped
	}
	version := crd.Spec.Versions[0]
	status := version.Subresources != nil && version.Subresources.Status != nil
	if len(crd.Spec.Versions) != 1 || crd.Spec.Names.Kind != w.Of.Name() || crd.Spec.Scope != scope || version.Name != w.Resource.Version || status != w.Status {
		t.Errorf("%s is %s %s in %d versions, first %s, with a status of its own: %v; want %s %s of %s: %v", crd.Name, crd.Spec.Scope, crd.Spec.Names.Kind,
			len(crd.Spec.Versions), version.Name, status, scope, w.Of.Name(), w.Resource.Version, w.Status)
	}
	fields := jsonFields(w.Of)
	root := version.Schema.OpenAPIV3Schema
	for _, every := range []string{"apiVersion", "kind", "metadata"} {
		if _, there := root.Properties[every]; !there {
			t.Errorf("%s has no %s in the schema", w.Of.Name(), every)
		}
		delete(fields, every)
		delete(root.Properties, every)
	}
	w.fields(t, w.Of.Name(), fields, *root)
}

func (w Type) fields(t testing.TB, path string, fields map[string]reflect.Type, props apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	if field, ends := strings.CutPrefix(w.End, path+"."); ends {
		delete(fields, field)
	}
	if got, want := slices.Sorted(maps.Keys(props.Properties)), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
		t.Errorf("%s has the fields %q in the schema, want %q", path, got, want)
	}
	for name, field := range fields {
		if property, ok := props.Properties[name]; ok {
			w.compare(t, path+"."+name, field, property)
		}
	}
}

// compare holds a schema to a type, and everything below.
func (w Type) compare(t testing.TB, path string, of reflect.Type, props apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	kind := "integer"
	switch {
	case of.Kind() == reflect.Pointer:
		w.compare(t, path, of.Elem(), props)
		return
	case of == reflect.TypeFor[metav1.Duration]():
		kind = "string"
		wantDurations(t, path, props.Pattern)
	case of == reflect.TypeFor[metav1.Time](), of == reflect.TypeFor[metav1.MicroTime](), of == reflect.TypeFor[time.Time]():
		kind = "string"
		if props.Format != "date-time" {
			t.Errorf("%s has the format %q, want date-time", path, props.Format)
		}
	case of == reflect.TypeFor[[]byte](), of.Kind() == reflect.String, of.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		kind = "string"
	case of.Kind() == reflect.Slice:
		kind = "array"
		if props.Items == nil || props.Items.Schema == nil {
			t.Errorf("%s says nothing of its items", path)
			return
		}
		if w.Bounded && props.MaxItems == nil {
			t.Errorf("%s has no end", path)
		}
		w.compare(t, path+"[]", of.Elem(), *props.Items.Schema)
	case of.Kind() == reflect.Map:
		kind = "object"
		if props.AdditionalProperties == nil || props.AdditionalProperties.Schema == nil {
			t.Errorf("%s is a map whose values would be pruned", path)
			return
		}
		w.compare(t, path+"{}", of.Elem(), *props.AdditionalProperties.Schema)
	case of.Kind() == reflect.Bool:
		kind = "boolean"
	case of.Kind() == reflect.Struct:
		kind = "object"
		w.fields(t, path, jsonFields(of), props)
	}
	if props.Type != kind {
		t.Errorf("%s is of type %q in the schema, want %q", path, props.Type, kind)
	}
}

// wantDurations holds a pattern to what Go reads as a duration: the API server's format alone takes "1 day" too, and then
// nobody here can read the object.
func wantDurations(t testing.TB, path, pattern string) {
	t.Helper()
	compiled, err := regexp.Compile(pattern)
	if err != nil || pattern == "" {
		t.Errorf("%s has the pattern %q (%v), want one for durations", path, pattern, err)
		return
	}
	for _, text := range []string{"5m0s", "0s", "0", "1.5h", "10s", "1h30m", "1d", "7 days", "1 week", "3 s", "", "h", "1h 30m"} {
		_, err := time.ParseDuration(text)
		if got, want := compiled.MatchString(text), err == nil; got != want {
			t.Errorf("%s takes %q: %v, want %v", path, text, got, want)
		}
	}
}

func jsonFields(of reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for field := range of.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if options == "inline" {
			maps.Copy(fields, jsonFields(field.Type))
			continue
		}
		fields[name] = field.Type
	}
	return fields
}
