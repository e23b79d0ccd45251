package policies

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Each test here is a way past a policy engine that once worked against some
// engine. The numbers are those of our list of such ways.

// Row 44: one policy that is expensive, fails or panics costs itself its verdict, and no other.
func TestBypass44AnExpensivePolicyCostsItselfAlone(t *testing.T) {
	files := bundleFiles("policies: [{policy: pods/a}, {policy: pods/expensive}, {policy: pods/z}]\n",
		"data/many.json", many,
		"a.rego", regoPolicy("pods/a", "", always),
		"expensive.rego", regoPolicy("pods/expensive", "", endless),
		"z.rego", regoPolicy("pods/z", "", always))
	for name, test := range map[string]struct {
		kind, resource, group, object string
	}{
		"a pod":                        {"Pod", "pods", "", plainPod},
		"a workflow of many templates": {"Workflow", "workflows", "argoproj.io", `{"kind":"Workflow","spec":{"templates":[` + strings.TrimSuffix(strings.Repeat(`{"name":"t","container":{"image":"app:1"}},`, 50), ",") + `]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, files)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			result := engine.Evaluate(ctx, objectRequest(test.group, "v1alpha1", test.resource, test.kind, test.object), &Facts{}, noon, PhaseValidate)
			wantSpoken(t, result, "pods/a: always", "pods/z: always", "pods/expensive fault: deadline exceeded")
		})
	}
}

// Row 46, CVE-2022-36085: "with" put http.send in the place of a harmless function, past a list of
// banned built-ins.
func TestBypass46WithDoesNotBringBackHTTPSend(t *testing.T) {
	for name, rule := range map[string]string{
		"a function replaced":  "deny contains \"x\" if f({\"method\": \"get\", \"url\": \"http://example.com\"}) with f as http.send\nf(x) := x",
		"a built-in replaced":  `deny contains "x" if count({"method": "get"}) with count as http.send`,
		"http.send replaced":   "deny contains \"x\" if http.send({}) with http.send as f\nf(x) := x",
		"in a comprehension":   `deny contains "x" if [1 | upper("a") with upper as http.send]`,
		"the process replaced": `deny contains "x" if upper("a") with upper as opa.runtime`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compileFiles(onePolicy("", rule))
			wantRefusal(t, err, "x.rego")
		})
	}
}
