package workload

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDefaultsOfAnArgoWorkflowMayLeaveTheImageOpen(t *testing.T) {
	kind := metav1.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Workflow"}
	found, err := Extract(kind, []byte(`{"apiVersion":"argoproj.io/v1alpha1","kind":"Workflow","metadata":{"name":"x"},"spec":{
		"templateDefaults":{"container":{"imagePullPolicy":"Always","securityContext":{"privileged":true}}},
		"templates":[{"name":"a","container":{"image":"ghcr.io/acme/a:1"}}]}}`))
	if err != nil {
		t.Fatalf("got error %v, want the pods of the template and of the defaults", err)
	}
	var defaults *Workload
	for i := range found {
		if found[i].Path == "spec.templateDefaults" {
			defaults = &found[i]
		}
	}
	if defaults == nil || len(defaults.Unresolved) == 0 || !defaults.Containers[0].SecurityContext.Privileged {
		t.Errorf("got %+v, want defaults with a privileged container and an image that is left open", found)
	}
	if _, err := Extract(kind, []byte(`{"apiVersion":"argoproj.io/v1alpha1","kind":"Workflow","spec":{"templates":[{"name":"a","container":{}}]}}`)); err == nil {
		t.Error("a template without image was accepted, want an error")
	}
}
