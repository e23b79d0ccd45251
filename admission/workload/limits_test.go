package workload

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An object of the 3 MB that the API server takes must cost bounded memory,
// whatever it is made of.
func TestMemoryIsBounded(t *testing.T) {
	list := func(item string, n int) string { return "[" + strings.Repeat(item+",", n-1) + item + "]" }
	deep := strings.Repeat(`{"a":`, 9000) + list(`"{{x}}"`, 300_000) + strings.Repeat("}", 9000)
	key := strings.Repeat("k", 1<<20)
	workflow := metav1.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Workflow"}
	tfJob := metav1.GroupVersionKind{Group: "kubeflow.org", Version: "v1", Kind: "TFJob"}
	taskRun := metav1.GroupVersionKind{Group: "tekton.dev", Version: "v1", Kind: "PipelineRun"}
	tests := map[string]struct {
		kind metav1.GroupVersionKind
		raw  string
	}{
		"empty containers":                {podKind, `{"spec":{"containers":` + list("{}", 1_000_000) + `}}`},
		"containers that are null":        {podKind, `{"spec":{"containers":` + list("null", 600_000) + `}}`},
		"empty variables":                 {podKind, `{"spec":{"containers":[{"image":"a","env":` + list("{}", 1_000_000) + `}]}}`},
		"as many containers as it takes":  {podKind, `{"spec":{"containers":` + list(`{"image":"a"}`, 49_990) + `}}`},
		"objects in each other":           {podKind, strings.Repeat(`{"spec":`, 300_000)},
		"a path of a million letters":     {tfJob, fmt.Sprintf(`{"spec":{"tfReplicaSpecs":{%q:{"template":{"spec":{"containers":[{"image":"a","env":%s}]}}}}}}`, key, list("{}", 40_000))},
		"expressions deep in a workflow":  {workflow, `{"spec":{"templates":[{"container":{"image":"a"},"x":` + deep + `}]}}`},
		"expressions under a long key":    {workflow, fmt.Sprintf(`{"spec":{"templates":[{"container":{"image":"a"},%q:%s}]}}`, key, list(`"{{x}}"`, 200_000))},
		"volumes shared by templates":     {workflow, `{"spec":{"volumes":` + list("{}", 20_000) + `,"templates":` + list(`{"container":{"image":"a"}}`, 14_000) + `}}`},
		"expressions shared by templates": {workflow, `{"spec":{"podMetadata":{"labels":` + labels("{{x}}", 2_000) + `},"templates":` + list(`{"container":{"image":"a"}}`, 15_000) + `}}`},
		"workspaces shared by tasks": {taskRun, `{"spec":{"workspaces":` + list(`{"emptyDir":{}}`, 15_000) + `,"pipelineSpec":{"tasks":` +
			list(`{"taskSpec":{"steps":[]}}`, 9_000) + `}}}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for what, run := range map[string]func(){
				"extracting": func() { _, _ = Extract(test.kind, []byte(test.raw)) },
				"searching":  func() { Search([]byte(test.raw)) },
			} {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				run()
				runtime.ReadMemStats(&after)
				const most = 192 << 20
				if got := after.TotalAlloc - before.TotalAlloc; got > most {
					t.Errorf("%s: got %d MiB allocated, want at most %d", what, got>>20, most>>20)
				}
			}
		})
	}
}

// labels is an object of n labels of one value.
func labels(value string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"l%d":%q`, i, value)
	}
	return "{" + b.String()[1:] + "}"
}
