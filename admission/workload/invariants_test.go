package workload

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/manifest"
)

// samples are all manifests of testdata, by name.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"pod-6k": readFile(t, "pod-6k.json")}
	for _, pattern := range []string{"testdata/kinds/*.yaml", "testdata/defaulting/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("got %d files of %s (%v), want some", len(files), pattern, err)
		}
		for _, file := range files {
			all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = manifestJSON(t, file)
		}
	}
	return all
}

// Rego must never meet null where a list is: iterating over it is undefined, and
// with it the whole rule.
func TestListsAreNeverNull(t *testing.T) {
	for name, raw := range samples(t) {
		t.Run(name, func(t *testing.T) {
			workloads, err := extractObject(raw)
			if err != nil {
				t.Fatal(err)
			}
			walk(reflect.ValueOf(workloads), "workloads", func(v reflect.Value, path string) {
				if v.Kind() == reflect.Slice && v.IsNil() && path != "workloads" {
					t.Errorf("got nil at %s, want an empty list", path)
				}
			})
		})
	}
}

// Every item of the normal form says where it comes from, and there it is.
func TestPathsLeadToFields(t *testing.T) {
	ought := map[string]bool{ // paths of what may be absent, or what is defaulted
		"Workload": true, "PodSecurityContext": true, "ExtendedResource": true, "Unresolved": true,
	}
	for name, raw := range samples(t) {
		t.Run(name, func(t *testing.T) {
			workloads, err := extractObject(raw)
			if err != nil {
				t.Fatal(err)
			}
			count := 0
			walk(reflect.ValueOf(workloads), "workloads", func(v reflect.Value, at string) {
				if v.Kind() != reflect.Struct || ought[v.Type().Name()] {
					return
				}
				field := v.FieldByName("Path")
				if !field.IsValid() {
					return
				}
				count++
				if _, ok := manifest.Get(raw, field.String()); !ok {
					t.Errorf("%s has the path %q, where there is nothing", at, field.String())
				}
			})
			if count == 0 && len(workloads) > 0 && len(workloads[0].Containers) > 0 {
				t.Error("got no paths at all")
			}
		})
	}
}

// walk visits a value and everything in it.
func walk(v reflect.Value, path string, visit func(reflect.Value, string)) {
	visit(v, path)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walk(v.Elem(), path, visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			walk(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	}
}

// The order of keys in a document means nothing.
func TestReorderedDocumentsHaveTheSameNormalForm(t *testing.T) {
	for name, raw := range samples(t) {
		t.Run(name, func(t *testing.T) {
			got, want := normalForm(t, reversed(t, raw)), normalForm(t, raw)
			if got != want {
				t.Errorf("differs at %s\ngot  %s\nwant %s", firstDifference(got, want), got, want)
			}
		})
	}
}

// An image that is written in another way is the same image, except for its text.
func TestRewrittenReferencesHaveTheSameNormalForm(t *testing.T) {
	pod := `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"c","image":"%s"}],"volumes":[{"name":"v","image":{"reference":"%[1]s"}}]}}`
	want := normalForm(t, fmt.Appendf(nil, pod, "docker.io/library/nginx:latest"))
	for _, text := range []string{"nginx", "nginx:latest", "docker.io/nginx", "index.docker.io/nginx", "docker.io:443/library/nginx"} {
		got := normalForm(t, fmt.Appendf(nil, pod, text))
		got = strings.ReplaceAll(got, `"image": "`+text+`"`, `"image": "docker.io/library/nginx:latest"`)
		got = strings.ReplaceAll(got, `"text": "`+text+`"`, `"text": "docker.io/library/nginx:latest"`)
		if got != want {
			t.Errorf("%s: differs at %s\ngot  %s\nwant %s", text, firstDifference(got, want), got, want)
		}
	}
}
