package policies

import (
	"reflect"

	"github.com/portcullis-dev/portcullis/admission/workload"
)

// runsTheSame says whether two versions of a workload run the same thing the same
// way. Then an update cannot make matters worse for a policy about pods, and an
// object from before the policy may be relabelled, scaled or finalised.
//
// Otherwise policies about pods judge all of it anew, whatever field they read: a
// privileged container from before the policy must not get another image. Pod
// Security admission draws the same line (isSignificantPodUpdate in
// k8s.io/pod-security-admission/admission).
func runsTheSame(a, b *workload.Workload) bool {
	return reflect.DeepEqual(significant(a), significant(b))
}

// significant is a workload without what only describes or multiplies it.
func significant(w *workload.Workload) workload.Workload {
	s := *w
	s.Labels, s.Annotations, s.Replicas = nil, nil, nil
	return s
}
