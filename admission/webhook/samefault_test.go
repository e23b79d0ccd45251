package webhook

import (
	"slices"
	"testing"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

func TestTheSameFaultOfManyPoliciesIsOneReason(t *testing.T) {
	fault := func(policy string, mode policies.FailMode) policies.Fault {
		return policies.Fault{Policy: policy, Kind: policies.FaultInput, Message: "the request has no object", FailMode: mode}
	}
	verdict := admission.Verdict{Faults: []policies.Fault{
		fault("pods/a", policies.FailClosed), fault("pods/b", policies.FailClosed), fault("pods/c", policies.FailOpen),
	}}
	if got, want := deniedBy(verdict), []string{"2 policies: unreadable input: the request has no object"}; !slices.Equal(got, want) {
		t.Errorf("got reasons %q, want %q", got, want)
	}
	if got, want := warnings(verdict), []string{"not judged: pods/c: unreadable input: the request has no object"}; !slices.Equal(got, want) {
		t.Errorf("got warnings %q, want %q", got, want)
	}
}
