package workload

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FuzzExtract looks for panics, null lists, images without reference and paths
// that lead nowhere, in all known kinds.
func FuzzExtract(f *testing.F) {
	for name, raw := range samples(f) {
		if name != "pod-6k" && !strings.HasPrefix(name, "full") && len(raw) > 2000 {
			continue
		}
		for i := range rows {
			if kind := typeOf(f, raw); rows[i].kind == kind.Kind && rows[i].group == kind.Group {
				f.Add(byte(i), string(raw))
			}
		}
	}
	f.Add(byte(0), `{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/"},"image":null}],"containers":[{"image":"a\u0000b"}]}}`)
	f.Add(byte(0), `{"spec":null,"metadata":{"annotations":{"container.apparmor.security.beta.kubernetes.io/":"localhost/"}}}`)
	f.Fuzz(func(t *testing.T, number byte, raw string) {
		row := rows[int(number)%len(rows)]
		input := []byte(raw)
		workloads, err := Extract(metav1.GroupVersionKind{Group: row.group, Version: "v1", Kind: row.kind}, input)
		if string(input) != raw {
			t.Fatal("the input was modified")
		}
		var refused *ReferenceError
		if errors.As(err, &refused) && refused.Path == "" {
			t.Fatalf("got %v without a path", err)
		}
		if err != nil {
			return
		}
		check(t, workloads)
		check(t, Search(input))
		if !json.Valid(input) {
			t.Fatalf("got a normal form of what is no JSON")
		}
	})
}

// check holds what every normal form must be.
func check(t *testing.T, workloads []Workload) {
	t.Helper()
	walk(reflect.ValueOf(workloads), "workloads", func(v reflect.Value, path string) {
		if v.Kind() == reflect.Slice && v.IsNil() && path != "workloads" {
			t.Fatalf("got nil at %s, want an empty list", path)
		}
	})
	for _, w := range workloads {
		if w.Platform != "kubernetes" {
			t.Fatalf("got platform %q", w.Platform)
		}
		for _, image := range w.Images {
			again, err := ParseImage(image.Ref)
			if err != nil || again.Ref != image.Ref || image.Path == "" {
				t.Fatalf("got image %+v, whose canonical form is %q (%v)", image, again.Ref, err)
			}
		}
		resolved := len(w.Images) + len(w.Unresolved)
		if resolved < len(w.Containers) {
			t.Fatalf("got %d containers, but images %v and unresolved %v", len(w.Containers), w.Images, w.Unresolved)
		}
	}
}
