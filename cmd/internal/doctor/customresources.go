package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func customResources() Check {
	return Check{
		Name: "custom-resources", About: "our custom resource definitions are there, served, and those of this version",
		Why:  "Without its definition an object cannot be stored; with an old one the API server silently drops the fields that it does not know.",
		look: lookAtCustomResources,
	}
}

var definitionsResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

func lookAtCustomResources(ctx context.Context, p *patient, r *Result) {
	current, missing := 0, map[string][]string{}
	for _, group := range groups() {
		apply := fmt.Sprintf("%s crd | kubectl apply --server-side -f -", group.program)
		for _, want := range ofKind(parse(group.definitions), "CustomResourceDefinition") {
			got, err := p.Dynamic.Resource(definitionsResource).Get(ctx, want.GetName(), getOptions)
			switch {
			case apierrors.IsNotFound(err):
				missing[group.program] = append(missing[group.program], want.GetName())
			case r.unread(err, "the definition "+want.GetName(), "get customresourcedefinitions "+want.GetName()):
				if apierrors.IsForbidden(err) {
					return // it will be the same for each
				}
			case compareDefinition(r, &want, got, apply):
				current++
			}
		}
	}
	for _, program := range slices.Sorted(maps.Keys(missing)) {
		component := installation.Component(strings.TrimPrefix(program, "portcullis-"))
		deployed, err := p.Deployment(ctx, component)
		switch {
		case err == nil && deployed == nil:
			r.ok("%s is not installed, and neither are its definitions: %s", program, several(missing[program]))
		default:
			r.problem(fmt.Sprintf("%s crd | kubectl apply --server-side -f -", program), "The cluster does not have %s", several(missing[program]))
		}
	}
	if current > 0 {
		r.ok("%s served, with the schema of this version", number(current, "definition is", "definitions are"))
	}
}

// compareDefinition says what is wrong with a definition, and whether nothing is.
func compareDefinition(r *Result, want, got *unstructured.Unstructured, apply string) bool {
	name := want.GetName()
	if got.GetDeletionTimestamp() != nil {
		r.problem("kubectl get "+name+" --all-namespaces # what is left of it; its finalizers keep it", "The definition %s is being deleted, and all its objects with it", name)
		return false
	}
	for _, wanted := range []string{"NamesAccepted", "Established"} {
		if c := conditionOf(got, wanted); c.Status != "True" {
			r.problem("kubectl describe customresourcedefinition "+name, "The definition %s is not served (%s is %s): %s", name, wanted, cmp.Or(c.Status, "not set"), c.Message)
			return false
		}
	}
	lost, differs := compareVersions(want, got)
	switch {
	case len(lost) > 0:
		r.problem(apply, "The definition %s is not that of this version: the API server drops %s", name, several(lost))
	case differs != "":
		r.warn(apply+" # or use the command line of the version that is installed", "The definition %s is not that of this version: %s", name, differs)
	default:
		return true
	}
	return false
}

// compareVersions says which fields of ours a definition does not know, and else where it differs.
func compareVersions(want, got *unstructured.Unstructured) (lost []string, differs string) {
	theirs := map[string]map[string]any{}
	for _, version := range versionsOf(got) {
		theirs[fmt.Sprint(version["name"])] = version
	}
	for _, version := range versionsOf(want) {
		name := fmt.Sprint(version["name"])
		other, ok := theirs[name]
		if !ok {
			return []string{"all of " + name}, ""
		}
		lost = append(lost, missingFields("", schemaOf(version), schemaOf(other))...)
		for _, part := range []string{"schema", "subresources", "additionalPrinterColumns", "served"} {
			if differs == "" && !same(version[part], other[part]) {
				differs = fmt.Sprintf("its %s of %s differs", part, name)
			}
		}
	}
	slices.Sort(lost)
	return lost, differs
}

func versionsOf(definition *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	var versions []map[string]any
	for _, item := range list {
		if version, ok := item.(map[string]any); ok {
			versions = append(versions, version)
		}
	}
	return versions
}

func schemaOf(version map[string]any) map[string]any {
	schema, _, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
	return schema
}

// missingFields are those that ours has and theirs does not, by their paths.
func missingFields(path string, ours, theirs map[string]any) []string {
	if theirs["x-kubernetes-preserve-unknown-fields"] == true {
		return nil
	}
	var missing []string
	properties, _ := ours["properties"].(map[string]any)
	others, _ := theirs["properties"].(map[string]any)
	for name, property := range properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		other, ok := others[name].(map[string]any)
		if !ok {
			missing = append(missing, at)
			continue
		}
		if fields, ok := property.(map[string]any); ok {
			missing = append(missing, missingFields(at, fields, other)...)
		}
	}
	for _, within := range []string{"items", "additionalProperties"} {
		fields, ok := ours[within].(map[string]any)
		if other, also := theirs[within].(map[string]any); ok && also {
			missing = append(missing, missingFields(path+"[]", fields, other)...)
		}
	}
	return missing
}

// same says whether two values are the same JSON: YAML and the API server have other types for numbers.
func same(a, b any) bool {
	return reflect.DeepEqual(plain(a), plain(b))
}

func plain(value any) any {
	text, err := json.Marshal(value)
	if err != nil {
		return value
	}
	var again any
	if json.Unmarshal(text, &again) != nil {
		return value
	}
	return again
}
