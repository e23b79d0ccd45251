package chart

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// edgeBytes is what all of Portcullis may take on one node: 200 MB.
const edgeBytes = 200_000_000

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
		sum += int64(replicas) * quantity.Value()
	}
	if sum == 0 || sum >= edgeBytes {
		t.Errorf("the limits add up to %d bytes, want under %d", sum, edgeBytes)
	}
}
