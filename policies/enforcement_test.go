package policies

import (
	"fmt"
	"strings"
	"testing"
)

func TestEnforcementIsWhatTheBundleMakesOfFindings(t *testing.T) {
	rules := "deny contains \"denied\" if input.object.kind\nwarn contains \"warned\" if input.object.kind"
	for enforcement, want := range map[string][]string{
		"deny":  {"denied deny/deny", "warned warn/warn"},
		"warn":  {"denied deny/warn", "warned warn/warn"},
		"audit": {"denied deny/audit", "warned warn/audit"},
		"off":   {},
	} {
		t.Run(enforcement, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x, enforcement: "+enforcement+"}]\n", "x.rego", regoPolicy("pods/x", "", rules)))
			got := []string{}
			for _, f := range judge(t, engine, podRequest(plainPod), nil).Findings {
				got = append(got, fmt.Sprintf("%s %s/%s", f.Message, f.Effect, f.Enforcement))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestAFindingCarriesWhatPeopleNeed(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x, name: strict}]\n", "x.rego", regoPolicy("pods/x", "", `
deny contains {
	"msg": "msg", "path": "spec.a[0]", "remediation": "Do that.", "details": {"n": 12345678901234567890},
	"fix": [{"op": "set", "path": "spec.a[0]", "value": {"b": [1, true, null]}}, {"op": "remove", "path": "spec.c"}],
} if input.object.kind
warn contains "plain" if input.object.kind`)))
	result := judge(t, engine, podRequest(plainPod), nil)
	if len(result.Findings) != 2 {
		t.Fatalf("got %+v, want two findings", result)
	}
	got := fmt.Sprintf("%+v", result.Findings)
	want := "[{Policy:pods/x Instance:strict Bundle: Title:Title of pods/x Severity:high Effect:warn Enforcement:warn Message:plain Path: Remediation:Mend it. Details:map[] Fix:[] ExceptedBy: ExceptedUntil:} " +
		"{Policy:pods/x Instance:strict Bundle: Title:Title of pods/x Severity:high Effect:deny Enforcement:deny Message:msg Path:spec.a[0] Remediation:Do that. Details:map[n:12345678901234567890] " +
		"Fix:[{Op:set Path:spec.a[0] Value:map[b:[1 true <nil>]]} {Op:remove Path:spec.c Value:<nil>}] ExceptedBy: ExceptedUntil:}]"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFindingsAreSortedAsPeopleReadThem(t *testing.T) {
	severity := func(id, severity, rules string) string {
		return strings.Replace(regoPolicy(id, "", rules), "severity: high", "severity: "+severity, 1)
	}
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/a}, {policy: pods/b}, {policy: pods/c}]\n",
		"a.rego", severity("pods/a", "low", `deny contains "a" if input.object.kind`),
		"b.rego", severity("pods/b", "critical", `deny contains {"msg": sprintf("%d", [i]), "path": sprintf("spec.containers[%d]", [i])} if { some i in [10, 2, 1]; input.object.kind }`),
		"c.rego", severity("pods/c", "medium", "deny contains m if { some m in [\"z\", \"y\"]; input.object.kind }\nwarn contains \"y\" if input.object.kind")))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), "pods/b: 1", "pods/b: 2", "pods/b: 10", "pods/c: y", "pods/c: y", "pods/c: z", "pods/a: a")
}

// Several templates of one object that give the same finding give it once.
func TestFindingsOfSeveralTemplatesAreKeptApart(t *testing.T) {
	engine := mustCompile(t, onePolicy("", "deny contains {\"msg\": \"same\", \"path\": c.path} if some c in input.workload.containers\ndeny contains \"once\" if input.object.kind"))
	workflow := `{"kind":"Workflow","spec":{"templates":[{"name":"a","container":{"image":"app:1"}},{"name":"b","container":{"image":"app:1"}}]}}`
	wantSpoken(t, judge(t, engine, objectRequest("argoproj.io", "v1alpha1", "workflows", "Workflow", workflow), nil), "pods/x: once", "pods/x: same", "pods/x: same")
}

func TestOnlyAnEnforcedPolicyPatches(t *testing.T) {
	for enforcement, want := range map[string]int{"deny": 1, "warn": 0, "audit": 0, "'off'": 0} {
		files := bundleFiles("policies: [{policy: test/patched, enforcement: "+enforcement+"}]", "patched.rego",
			regoPolicy("test/patched", "match: {workload: pods}", `patch contains {"path": ["metadata", "labels", "a"], "set": "b"}`))
		engine := mustCompile(t, files)
		result := engine.Evaluate(t.Context(), podRequest(plainPod), &Facts{}, noon, PhaseMutate)
		if len(result.Patches) != want || len(result.Faults) > 0 {
			t.Errorf("enforcement %s: got %d patches and faults %v, want %d patches", enforcement, len(result.Patches), result.Faults, want)
		}
	}
}
