package policies

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExplainNamesTheLineTheFieldAndItsValue(t *testing.T) {
	bundle, err := Load(fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: t\nserial: 1\npolicies: [{policy: pods/x}]\n")},
		"x.rego": {Data: []byte(`# METADATA
# title: X
# description: X.
# custom:
#   severity: low
#   match: {workload: any}
#   remediation: Mend it.
package portcullis.pods.x

deny contains finding if {
	some container in input.workload.containers
	container.securityContext.privileged
	not container.securityContext.runAsNonRoot
	finding := {"msg": "privileged", "path": container.path}
}

deny contains {"msg": sprintf("image %s", [c.image]), "path": c.path, "fix": [{"op": "remove", "path": c.path}]} if {
	some c in input.workload.containers
	c.image == "forbidden"
}

deny contains "never" if {
	input.object.kind == "Nothing"
}
`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	request := &Request{
		Door: DoorGate, Operation: "CREATE", Namespace: "n", Name: "a",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"ok","image":"forbidden"},{"name":"bad","image":"i","securityContext":{"privileged":true}}]}}`),
	}
	traces, err := engine.Explain(context.Background(), request, &Facts{}, time.Unix(0, 0))
	if err != nil || len(traces) != 2 {
		t.Fatalf("got %+v, %v, want two traces", traces, err)
	}
	slices.SortFunc(traces, func(a, b Trace) int { return a.Line - b.Line })
	if got := traces[1]; got.Line != 17 || got.Message != "image forbidden" || got.Path != "spec.containers[0]" {
		t.Errorf("got %+v, want the rule at x.rego:17 with the message of its head", got)
	}
	trace := traces[0]
	if trace.File != "x.rego" || trace.Line != 10 || trace.Path != "spec.containers[1]" || trace.Rule != "deny contains finding if {" {
		t.Errorf("got %+v, want the rule at x.rego:10 about spec.containers[1]", trace)
	}
	want := []Step{
		{Line: 12, Text: "container.securityContext.privileged", Reads: []Reading{{"container.securityContext.privileged", "spec.containers[1].securityContext.privileged", "true"}}},
		{Line: 13, Text: "not container.securityContext.runAsNonRoot", Reads: []Reading{{"container.securityContext.runAsNonRoot", "spec.containers[1].securityContext.runAsNonRoot", ""}}},
	}
	for i, step := range want {
		if got := trace.Steps[i+1]; got.Line != step.Line || got.Text != step.Text || !slices.Equal(got.Reads, step.Reads) {
			t.Errorf("got step %+v, want %+v", got, step)
		}
	}
}

func TestExplainShowsTheParametersOfTheInstance(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x, parameters: {most: 2, names: [app]}}]\n", "x.rego",
		regoPolicy("pods/x", "parameters: {properties: {most: {type: integer, default: 5}, names: {type: array, default: []}, kind: {type: string, default: Pod}}}", `
deny contains "x" if {
	input.object.kind == input.parameters.kind
	count(input.parameters.names) < input.parameters.most
}`)))
	traces, err := engine.Explain(context.Background(), podRequest(plainPod), &Facts{}, noon)
	if err != nil || len(traces) != 1 {
		t.Fatalf("got %+v, %v, want one trace", traces, err)
	}
	got := map[string]string{}
	for _, step := range traces[0].Steps {
		for _, reading := range step.Reads {
			got[reading.Ref] = reading.Value
		}
	}
	want := map[string]string{"input.object.kind": `"Pod"`, "input.parameters.kind": `"Pod"`, "input.parameters.names": `["app"]`, "input.parameters.most": "2"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestExplainOfAnEventNamesTheRuleThatAsks(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: runtime/x}]\n", "x.rego", regoPolicy("runtime/x", "match: {events: {}}\n", `respond contains {"action": "isolate", "msg": "a shell"} if {
	input.event.rule == "Terminal shell in container"
}`)))
	traces, err := engine.Explain(t.Context(), eventRequest(nil), &Facts{}, noon)
	if err != nil || len(traces) != 1 {
		t.Fatalf("got %+v, %v, want one trace", traces, err)
	}
	got := traces[0]
	if got.Effect != EffectRespond || got.Message != "isolate: a shell" || len(got.Steps) != 1 || len(got.Steps[0].Reads) != 1 || got.Steps[0].Reads[0].Value != `"Terminal shell in container"` {
		t.Errorf("got %+v, want the action, the line and what it read", got)
	}
}
