package policies

import (
	"testing"
	"time"
)

// The way round: a pod that was judged before a date was remembered as harmless
// after it, by a policy that asks time.now_ns instead of input.now.
func TestWhatDependsOnTheClockIsNotRemembered(t *testing.T) {
	for name, clock := range map[string]string{
		"the field":    `time.parse_rfc3339_ns(input.now)`,
		"the built-in": `time.now_ns()`,
		"in a helper":  `helper`,
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy("", `deny contains "too late" if {
	some container in input.workload.containers
	container.name != ""
	`+clock+` > time.parse_rfc3339_ns("2026-03-01T13:00:00Z")
}
helper := time.now_ns()`))
			wantSpoken(t, judge(t, engine, podRequest(plainPod), nil))
			wantSpoken(t, judgeAt(t, engine, podRequest(plainPod), nil, noon.Add(2*time.Hour)), "pods/x: too late")
		})
	}
}

// The way round (CVE-2026-30963): a namespace was relabelled by a subresource that
// the policy does not name, though the API server takes labels there.
func TestUpdatesBySubresourcesAreJudgedLikeUpdates(t *testing.T) {
	for name, test := range map[string]struct {
		group, resource, subresource, operation string
		judged                                  bool
	}{
		"a namespace":                        {"", "namespaces", "", "UPDATE", true},
		"a namespace's finalizers":           {"", "namespaces", "finalize", "UPDATE", true},
		"a namespace's status":               {"", "namespaces", "status", "UPDATE", true},
		"a pod's ephemeral containers":       {"", "pods", "ephemeralcontainers", "UPDATE", true},
		"a pod's resources":                  {"", "pods", "resize", "UPDATE", true},
		"a pod's status":                     {"", "pods", "status", "UPDATE", false},
		"an exec":                            {"", "pods", "exec", "CONNECT", false},
		"a namespace of another API":         {"example.com", "namespaces", "status", "UPDATE", false},
		"a subresource that is only created": {"", "namespaces", "finalize", "CREATE", false},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy(`match: {resources: [{group: "", resources: [namespaces, pods]}]}`, `deny contains "no" if input.object.metadata.labels.bad`))
			request := objectRequest(test.group, "v1", test.resource, "Any", `{"metadata":{"name":"shop","labels":{"bad":"yes"}}}`)
			request.SubResource, request.Operation = test.subresource, test.operation
			if test.operation == "UPDATE" {
				request = updateRequest(request, `{"metadata":{"name":"shop"}}`)
			}
			want := []string{}
			if test.judged {
				want = append(want, "pods/x: no")
			}
			wantSpoken(t, judge(t, engine, request, nil), want...)
			if got := engine.Matches(request); got != test.judged {
				t.Errorf("got Matches = %v, want %v", got, test.judged)
			}
		})
	}
}

// The way round: a workflow whose pods are made privileged by a patch was admitted at
// the gate, since no policy reads the patch.
func TestAPatchOfTheFinishedPodLeavesEveryPolicyUndecided(t *testing.T) {
	const patch = `"podSpecPatch":"{\"containers\":[{\"name\":\"main\",\"securityContext\":{\"privileged\":true}}]}"`
	engine := mustCompile(t, onePolicy("", `deny contains "privileged" if {
	some container in input.workload.containers
	container.securityContext.privileged
}`))
	for name, test := range map[string]struct {
		spec string
		want []string
	}{
		"of one template":                  {`{"templates":[{"name":"a",` + patch + `,"container":{"image":"a:1"}}]}`, []string{"pods/x undecided"}},
		"of all templates":                 {`{` + patch + `,"templates":[{"name":"a","container":{"image":"a:1"}}]}`, []string{"pods/x undecided"}},
		"of the defaults":                  {`{"templateDefaults":{` + patch + `},"templates":[{"name":"a","container":{"image":"a:1"}}]}`, []string{"pods/x undecided"}},
		"of a template elsewhere":          {`{` + patch + `,"workflowTemplateRef":{"name":"other"}}`, []string{"pods/x undecided"}},
		"none":                             {`{"templates":[{"name":"a","container":{"image":"a:1"}}]}`, nil},
		"none, and the template elsewhere": {`{"workflowTemplateRef":{"name":"other"}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			request := objectRequest("argoproj.io", "v1alpha1", "workflows", "Workflow", `{"metadata":{"name":"a"},"spec":`+test.spec+`}`)
			request.Door = DoorGate
			want := test.want
			if want == nil {
				want = []string{}
			}
			wantSpoken(t, judge(t, engine, request, nil), want...)
		})
	}
}
