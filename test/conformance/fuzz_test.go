package conformance

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/portcullis-dev/portcullis/admission"
	corev1 "k8s.io/api/core/v1"
)

// FuzzPodSecurity mutates the upstream fixtures and compares our verdict with that
// of upstream's evaluator, control by control.
func FuzzPodSecurity(f *testing.F) {
	reviewer, controls := pssReviewer(f)
	checks := upstream()
	for _, fixture := range fixtures(f) {
		if fixture.version == latest {
			f.Add(fixture.raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		pod, ok := comparablePod(raw)
		if !ok {
			return
		}
		// Both sides get the same bytes: what encoding/json made of the input.
		canonical, err := json.Marshal(pod)
		if err != nil {
			return
		}
		verdict := reviewer.Review(context.Background(), podRequest(admission.DoorAdmission, canonical))
		if len(verdict.Faults) > 0 {
			// A pod that cannot be read, such as one with an image that is no reference, is
			// denied by a fault; upstream does not look at images.
			return
		}
		for _, d := range difference(controls, checks, pod, verdict) {
			t.Errorf("%s\n%s", d, canonical)
		}
	})
}

// comparablePod decodes a pod that the API server could hand to an admission plugin.
func comparablePod(raw []byte) (*corev1.Pod, bool) {
	pod := &corev1.Pod{}
	if json.Unmarshal(raw, pod) != nil || len(pod.Spec.Containers) == 0 {
		return nil, false
	}
	for _, volume := range pod.Spec.Volumes {
		if sources(volume) > 1 {
			return nil, false // refused by the API server's own validation
		}
	}
	defaultVolumes(pod)
	return pod, true
}

// sources counts the sources of a volume.
func sources(volume corev1.Volume) int {
	raw, err := json.Marshal(volume.VolumeSource)
	if err != nil {
		return 0
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return 0
	}
	return len(fields)
}
