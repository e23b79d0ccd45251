package quarantine

import (
	"testing"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// Suspending a Job deletes its pods, and waits for evidence and for the pod to be none of them. A CronJob is suspended first.
func TestOnlyACronJobIsSuspendedBeforeItsPodIsTaken(t *testing.T) {
	detach := true
	actions := []response.Planned{
		{Ask: response.Ask{Action: response.Snapshot}},
		{Ask: response.Ask{Action: response.Suspend}},
		{Ask: response.Ask{Action: response.Isolate, Parameters: response.Parameters{Detach: &detach}}},
	}
	all := func(response.Planned) bool { return true }
	for name, test := range map[string]struct {
		owner v1alpha1.OwnerReference
		want  bool // whether it waits
	}{
		"a Job waits":         {v1alpha1.OwnerReference{Group: "batch", Kind: "Job", Name: "a"}, true},
		"a CronJob does not":  {v1alpha1.OwnerReference{Group: "batch", Kind: "CronJob", Name: "a"}, false},
		"a kind of that name": {v1alpha1.OwnerReference{Group: "example.org", Kind: "CronJob", Name: "a"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			q := &v1alpha1.Quarantine{Spec: v1alpha1.QuarantineSpec{Owner: &test.owner, Actions: actions}}
			if got := blocked(q, actions[1], all); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
