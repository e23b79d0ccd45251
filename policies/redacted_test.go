package policies

import (
	"strings"
	"testing"
)

func TestAPolicyThatReadsWhatTheJournalDoesNotKeepIsNotReplayable(t *testing.T) {
	anything := "match: {resources: [{group: '', resources: [pods, secrets]}]}"
	for name, test := range map[string]struct {
		rule, redacted string
		left           bool
	}{
		"the object as a whole":                    {`deny contains "x" if input.workload.containers[_].name == "a"`, "object", true},
		"the very value":                           {`deny contains "x" if input.object.data.password == "a"`, "object.data", true},
		"all of the object":                        {`deny contains "x" if json.marshal(input.object) == "a"`, "object.data", true},
		"what lies beside it":                      {`deny contains "x" if input.object.metadata.name == "shop"`, "object.data", false},
		"what lies below a key that may be any":    {`deny contains "x" if { some k; input.object[k].password == "a" }`, "object.data", true},
		"the old object's":                         {`deny contains "x" if input.oldObject.data.password == "a"`, "object.data", false},
		"that of the old object, and that is left": {`deny contains "x" if input.oldObject.data.password == "a"`, "oldObject.data", true},
		"a variable of the raw object":             {`deny contains "x" if input.object.spec.containers[0].env[0].value == "a"`, "object.spec.containers[0].env[0].value", true},
		"a variable of the normal form":            {`deny contains "x" if input.workload.containers[_].env[_].value == "a"`, "object.spec.containers[0].env[0].value", true},
		"the name of a variable":                   {`deny contains "x" if input.workload.containers[_].env[_].name == "a"`, "object.spec.containers[0].env[0].value", false},
		"an annotation":                            {`deny contains "x" if input.object.metadata.annotations.a == "a"`, "object.metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", false},
		"annotations of the normal form":           {`deny contains "x" if { some a in input.workload.annotations; a.value == "a" }`, "object.metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", true},
		"all annotations":                          {`deny contains "x" if { some v in input.object.metadata.annotations; v == "a" }`, "object.metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", true},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy(anything, test.rule))
			r := podRequest(plainPod)
			r.Redacted = []string{test.redacted}
			result := judge(t, engine, r, nil)
			got := len(result.Undecided) == 1 && strings.HasPrefix(result.Undecided[0].Reason, "not replayable: ")
			if got != test.left {
				t.Errorf("got %+v, want it left undecided: %v", result, test.left)
			}
			if test.left && (len(result.Findings) > 0 || result.Undecided[0].Enforcement != EnforceDeny) {
				t.Errorf("got %+v, want nothing guessed, with the enforcement of the policy", result)
			}
		})
	}
}

func TestFoldersOfOtherToolsAreNoPartOfTheCompileUnit(t *testing.T) {
	bundle, err := Load(bundleFiles("", "gatekeeper/template.yaml", "kind: ConstraintTemplate\n", "gatekeeper/src.rego", "package k8s", "conftest/policy.rego", "package main\n\ndeny[msg] { msg := \"v0\" }"))
	if err != nil {
		t.Fatalf("got %v, want a bundle with nothing but policies for other tools", err)
	}
	if len(bundle.Policies) != 0 {
		t.Errorf("got policies %v, want none", bundle.Policies)
	}
	if _, err := Load(bundleFiles("", "policies/gatekeeper/x.rego", "package nonsense")); err == nil {
		t.Error("got no error for a folder of that name elsewhere, want it read as any other")
	}
}
