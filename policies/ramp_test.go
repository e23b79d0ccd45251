package policies

import (
	"fmt"
	"testing"
	"time"
)

func day(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestEnforcementRampsUpByTheClock(t *testing.T) {
	const ramp = "{auditUntil: 2026-03-10, warnUntil: 2026-04-01}"
	for name, test := range map[string]struct {
		instance string
		at       time.Time
		want     Enforcement
		message  string
	}{
		"long before: recorded":                     {"ramp: " + ramp, noon, EnforceAudit, "always (denied from 2026-04-01 on)"},
		"the last moment of the first stage":        {"ramp: " + ramp, day("2026-03-09T23:59:59Z"), EnforceAudit, "always (denied from 2026-04-01 on)"},
		"the first moment of the second: a warning": {"ramp: " + ramp, day("2026-03-10T00:00:00Z"), EnforceWarn, "always (denied from 2026-04-01 on)"},
		"the last moment of the second":             {"ramp: " + ramp, day("2026-03-31T23:59:59Z"), EnforceWarn, "always (denied from 2026-04-01 on)"},
		"the first moment of the end: denied":       {"ramp: " + ramp, day("2026-04-01T00:00:00Z"), EnforceDeny, "always"},
		"a year later":                              {"ramp: " + ramp, day("2027-04-01T00:00:00Z"), EnforceDeny, "always"},
		"without a warning between":                 {"ramp: {auditUntil: 2026-03-10}", noon, EnforceAudit, "always (denied from 2026-03-10 on)"},
		"without a warning between, over":           {"ramp: {auditUntil: 2026-03-10}", day("2026-03-10T00:00:00Z"), EnforceDeny, "always"},
		"with a warning first":                      {"ramp: {warnUntil: 2026-03-10}", noon, EnforceWarn, "always (denied from 2026-03-10 on)"},
		"up to a warning":                           {"enforcement: warn, ramp: {auditUntil: 2026-03-10}", noon, EnforceAudit, "always (warned of from 2026-03-10 on)"},
		"up to a warning, over":                     {"enforcement: warn, ramp: {auditUntil: 2026-03-10}", day("2026-03-10T00:00:00Z"), EnforceWarn, "always"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x, "+test.instance+"}]\n", "x.rego", regoPolicy("pods/x", "", always)))
			for range 2 { // the second time from memory
				result := judgeAt(t, engine, podRequest(plainPod), nil, test.at)
				if len(result.Findings) != 1 || result.Findings[0].Enforcement != test.want || result.Findings[0].Message != test.message {
					t.Fatalf("got %+v, want one finding with enforcement %s and message %q", result.Findings, test.want, test.message)
				}
			}
		})
	}
}

func TestAFaultOfAPolicyThatIsNotEnforcedYetDoesNotDeny(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x, ramp: {warnUntil: 2026-03-10}}]\n",
		"x.rego", regoPolicy("pods/x", "", `deny contains "x" if to_number(input.object.kind) > 0`)))
	for at, want := range map[time.Time]Enforcement{noon: EnforceWarn, day("2026-03-10T00:00:00Z"): EnforceDeny} {
		result := judgeAt(t, engine, podRequest(plainPod), nil, at)
		if len(result.Faults) != 1 || result.Faults[0].Enforcement != want {
			t.Errorf("at %s: got %+v, want one fault with enforcement %s", at, result.Faults, want)
		}
	}
}

func TestAPolicyPatchesFromTheDayItIsEnforced(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: patch/x, ramp: {warnUntil: 2026-03-10}}]\n",
		"x.rego", regoPolicy("patch/x", "", `patch contains {"path": ["metadata", "labels", "a"], "set": "b"}`)))
	for at, want := range map[time.Time]int{noon: 0, day("2026-03-10T00:00:00Z"): 1} {
		result := engine.Evaluate(t.Context(), podRequest(plainPod), &Facts{}, at, PhaseMutate)
		if len(result.Patches) != want || len(result.Faults) > 0 {
			t.Errorf("at %s: got %+v, want %d patches", at, result, want)
		}
	}
}

func TestASofterProfileSoftensTheEndOfARamp(t *testing.T) {
	engine := mustCompile(t, bundleFiles("defaultProfile: soft\nprofiles: [{name: hard, policies: [{policy: pods/x, ramp: {warnUntil: 2026-03-10}}]}, {name: soft, extends: hard, atMost: warn}]\n",
		"x.rego", regoPolicy("pods/x", "", always)))
	result := judgeAt(t, engine, podRequest(plainPod), nil, day("2027-01-01T00:00:00Z"))
	if len(result.Findings) != 1 || result.Findings[0].Enforcement != EnforceWarn {
		t.Errorf("got %+v, want a warning", result.Findings)
	}
}

func TestRampsAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ instance, want string }{
		"with no days":                      {"ramp: {}", "give auditUntil"},
		"that go backwards":                 {"ramp: {auditUntil: 2026-04-01, warnUntil: 2026-03-01}", "auditUntil is not before warnUntil"},
		"whose stages are of no length":     {"ramp: {auditUntil: 2026-04-01, warnUntil: 2026-04-01}", "auditUntil is not before warnUntil"},
		"with a day that is none":           {"ramp: {warnUntil: 2026-02-30}", "2026-02-30"},
		"with a word for a day":             {"ramp: {auditUntil: soon}", `"soon"`},
		"to what is only recorded":          {"enforcement: audit, ramp: {auditUntil: 2026-04-01}", "raise enforcement"},
		"from a warning to a warning":       {"enforcement: warn, ramp: {warnUntil: 2026-04-01}", "raise enforcement"},
		"of a field that nobody knows":      {"ramp: {denyFrom: 2026-04-01}", "denyFrom"},
		"from a warning to nothing at all":  {"enforcement: off, ramp: {warnUntil: 2026-04-01}", "raise enforcement"},
		"with a stage of the wrong type":    {"ramp: {warnUntil: [1]}", "warnUntil"},
		"in place of an enforcement (text)": {"ramp: deny", "ramp"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(bundleFiles(fmt.Sprintf("policies: [{policy: pods/x, %s}]\n", test.instance), "x.rego", regoPolicy("pods/x", "", always)))
			wantRefusal(t, err, test.want)
		})
	}
}
