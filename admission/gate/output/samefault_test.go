package output

import (
	"bytes"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/policies"
)

func TestTheSameFaultOfManyPoliciesIsOneLineForPeopleOnly(t *testing.T) {
	result := gate.Result{Outcome: gate.Faulty}
	for _, policy := range []string{"pods/a", "pods/b", "pods/c"} {
		result.Faults = append(result.Faults, policies.Fault{Policy: policy, Kind: policies.FaultInput, Message: "containers is a string"})
	}
	for _, test := range []struct {
		format string
		style  Style
		lines  int
		says   string
	}{
		{"text", Style{}, 1, "[3 policies]"},
		{"text", Style{Table: true, Width: 100}, 1, "3 policies"},
		{"json", Style{}, 3, "pods/c"},
	} {
		var b bytes.Buffer
		handler, err := New(test.format, &b, test.style)
		if err != nil {
			t.Fatal(err)
		}
		replay(t, handler, testRun, []event{result}, gate.Summary{Objects: 1, Faults: 3})
		if got := strings.Count(b.String(), "containers is a string"); got != test.lines || !strings.Contains(b.String(), test.says) {
			t.Errorf("%s: got the fault %d times, want %d with %q:\n%s", test.format, got, test.lines, test.says, b.String())
		}
	}
}

func TestTextGivesAReasonToBeUndecidedOnce(t *testing.T) {
	open := func(policy, reason string) gate.UndecidedPolicy {
		return gate.UndecidedPolicy{Undecided: policies.Undecided{Policy: policy, Path: "spec", Reason: reason}}
	}
	all := []gate.UndecidedPolicy{open("a/a", "no answer"), open("b/b", "another"), open("c/c", "no answer"), open("c/c", "no answer"), open("a/a", "no answer")}
	got := collapseUndecided(all)
	if len(got) != 2 || got[0].Policy != "a/a, c/c" || got[1].Policy != "b/b" {
		t.Errorf("got %+v, want the first reason once with a/a, c/c and the other with b/b", got)
	}
	if all[0].Policy != "a/a" {
		t.Errorf("got %q in the result itself, want it untouched", all[0].Policy)
	}
}
