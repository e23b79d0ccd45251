package chart

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// edgeBytes is what all of Portcullis may take for itself on one node: 200 MB.
const edgeBytes = 200_000_000

// programBytes is what a program needs for its own pages, which count against the limit: it reads itself again and again with less,
// for a minute before it is ready (test/pods, after a loss of power).
const programBytes = 56 << 20

func TestOneNodeHasRoomForAllOfIt(t *testing.T) {
	rendered, err := Render(profiles["single-node"])
	if err != nil {
		t.Fatal(err)
	}
	all, err := Split([]byte(rendered.Manifest))
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, object := range all {
		if object.GetKind() != "Deployment" {
			continue
		}
		replicas, _, _ := unstructured.NestedNumberAsFloat64(object.Object, "spec", "replicas")
		containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		limit, _, _ := unstructured.NestedString(containers[0].(map[string]any), "resources", "limits", "memory")
		quantity, err := resource.ParseQuantity(limit)
		if err != nil {
			t.Fatalf("%s: %v", object.GetName(), err)
		}
		heap := heapLimit(t, containers[0].(map[string]any))
		if quantity.Value()-heap < min(programBytes, quantity.Value()/2) {
			t.Errorf("%s: Go may take %d bytes of %d, which leaves the pages of the program too few", object.GetName(), heap, quantity.Value())
		}
		sum += int64(replicas) * heap
	}
	if sum == 0 || sum >= edgeBytes {
		t.Errorf("what Go may take adds up to %d bytes, want under %d", sum, edgeBytes)
	}
}

// heapLimit is what GOMEMLIMIT of a container says.
func heapLimit(t *testing.T, container map[string]any) int64 {
	t.Helper()
	variables, _, _ := unstructured.NestedSlice(container, "env")
	for _, variable := range variables {
		if v := variable.(map[string]any); v["name"] == "GOMEMLIMIT" {
			quantity, err := resource.ParseQuantity(strings.TrimSuffix(fmt.Sprint(v["value"]), "B"))
			if err != nil {
				t.Fatal(err)
			}
			return quantity.Value()
		}
	}
	t.Fatalf("%v has no GOMEMLIMIT", container["name"])
	return 0
}
