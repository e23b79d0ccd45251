package policies

import (
	"testing"

	"github.com/portcullis-dev/portcullis/admission/workload"
)

func TestOnlyWhatDescribesOrMultipliesAWorkloadLeavesItTheSame(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*workload.Workload)
		same   bool
	}{
		"another label":           {func(w *workload.Workload) { w.Labels = []workload.KeyValue{{Key: "a", Value: "b"}} }, true},
		"another annotation":      {func(w *workload.Workload) { w.Annotations = []workload.KeyValue{{Key: "a", Value: "b"}} }, true},
		"fewer replicas":          {func(w *workload.Workload) { w.Replicas = new(int64(1)) }, true},
		"another image":           {func(w *workload.Workload) { w.Containers[0].Image = "evil" }, false},
		"another command":         {func(w *workload.Workload) { w.Containers[0].Command = []string{"sh"} }, false},
		"one more container":      {func(w *workload.Workload) { w.Containers = append(w.Containers, workload.Container{}) }, false},
		"one more volume":         {func(w *workload.Workload) { w.Volumes = []workload.Volume{{Name: "host"}} }, false},
		"another service account": {func(w *workload.Workload) { w.ServiceAccount = "admin" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := workload.Workload{Replicas: new(int64(3)), Containers: []workload.Container{{Image: "app"}}}
			after := workload.Workload{Replicas: new(int64(3)), Containers: []workload.Container{{Image: "app"}}}
			test.change(&after)
			if got := runsTheSame(&before, &after); got != test.same {
				t.Errorf("got same = %v, want %v", got, test.same)
			}
		})
	}
}
