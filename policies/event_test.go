package policies

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/runtime/response"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const shellEvents = "match: {events: {sources: [syscall], priority: warning, rules: [\"*shell*\"], tags: [mitre_execution]}}\n"

// eventRequest is an event about the pod shop/shop.
func eventRequest(change func(*response.Event)) *Request {
	e := &response.Event{
		Source: "syscall", Rule: "Terminal shell in container", Priority: response.Critical, Time: noon, Tags: []string{"container"},
		Fields: map[string]any{"proc.cmdline": "sh -i", "proc.pid": json.Number("9007199254740993")},
		Pod:    &response.Pod{Namespace: "shop", Name: "shop", UID: "u-1", Node: "n1"},
		Recent: []response.Recent{{Rule: "Terminal shell in container", Priority: response.Critical, Count: 3, First: noon, Last: noon}},
	}
	if change != nil {
		change(e)
	}
	request := &Request{
		Door: DoorResponder, Operation: OperationEvent, Event: e,
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
	}
	if e.Pod != nil {
		request.Namespace, request.Name, request.Object = e.Pod.Namespace, e.Pod.Name, []byte(plainPod)
	}
	return request
}

func respondAt(t *testing.T, e *Engine, r *Request) Result {
	t.Helper()
	facts := &Facts{Namespace: &Namespace{Name: r.Namespace}}
	return e.Evaluate(t.Context(), r, facts, noon, PhaseRespond)
}

// asked are the responses that count, as "action (mode): message", with the faults.
func asked(result Result) []string {
	said := []string{}
	for _, r := range result.Responses {
		if r.ExceptedBy == "" {
			said = append(said, string(r.Action)+" ("+string(r.Mode)+"): "+r.Message)
		}
	}
	for _, f := range result.Faults {
		said = append(said, "fault: "+f.Message)
	}
	return said
}

func TestAPolicyAsksForActions(t *testing.T) {
	rules := `respond contains {"action": action, "msg": msg, "parameters": {"ttl": "1h"}} if {
	some action in ["notify", "isolate", "snapshot"]
	some container in input.workload.containers
	some recent in input.event.recent
	recent.count >= 3
	msg := sprintf("%s in %s of %s on %s, pid %v", [input.event.fields["proc.cmdline"], container.name, input.event.pod.uid, input.event.pod.node, input.event.fields["proc.pid"]])
}`
	for name, test := range map[string]struct {
		enforcement string
		change      func(*response.Event)
		want        []string
	}{
		"in the order of a plan, with exact numbers": {"deny", nil, []string{
			"snapshot (enforce): sh -i in app of u-1 on n1, pid 9007199254740993", "isolate (enforce): sh -i in app of u-1 on n1, pid 9007199254740993", "notify (enforce): sh -i in app of u-1 on n1, pid 9007199254740993"}},
		"one that only warns waits for a person": {"warn", func(e *response.Event) { e.Rule, e.Tags = "Netcat", []string{"mitre_execution"} }, []string{
			"snapshot (approve): sh -i in app of u-1 on n1, pid 9007199254740993", "isolate (approve): sh -i in app of u-1 on n1, pid 9007199254740993", "notify (approve): sh -i in app of u-1 on n1, pid 9007199254740993"}},
		"another rule without the tag":   {"deny", func(e *response.Event) { e.Rule = "Netcat" }, []string{}},
		"a milder priority":              {"deny", func(e *response.Event) { e.Priority = response.Notice }, []string{}},
		"another source":                 {"deny", func(e *response.Event) { e.Source = "k8s_audit" }, []string{}},
		"fewer events than it takes":     {"deny", func(e *response.Event) { e.Recent[0].Count = 2 }, []string{}},
		"an event that is about no pod":  {"deny", func(e *response.Event) { e.Pod, e.Host = nil, true }, []string{}},
		"nothing is known of the fields": {"deny", func(e *response.Event) { e.Fields = nil }, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: runtime/x, enforcement: "+test.enforcement+"}]\n", "x.rego", regoPolicy("runtime/x", shellEvents, rules)))
			if got := asked(respondAt(t, engine, eventRequest(test.change))); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestAnEventThatNoPolicyIsAboutMatchesNone, so that nothing has to be found out about its pod.
func TestAnEventThatNoPolicyIsAboutMatchesNone(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: runtime/x}]\n", "x.rego", regoPolicy("runtime/x", shellEvents, `respond contains {"action": "notify", "msg": "m"}`)))
	for name, test := range map[string]struct {
		change func(*response.Event)
		want   bool
	}{
		"one that it is about": {nil, true},
		"a milder priority":    {func(e *response.Event) { e.Priority = response.Notice }, false},
		"another rule":         {func(e *response.Event) { e.Rule, e.Tags = "Netcat", nil }, false},
		"another source":       {func(e *response.Event) { e.Source = "k8s_audit" }, false},
	} {
		if got := engine.Matches(eventRequest(test.change)); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestWhatIsWrongWithAResponseIsAFaultAndCostsNoOther(t *testing.T) {
	for name, test := range map[string]struct{ response, want string }{
		"an action that there is not":      {`{"action": "nuke", "msg": "m"}`, `no action "nuke"`},
		"no message":                       {`{"action": "isolate"}`, "has no msg"},
		"a parameter that there is not":    {`{"action": "isolate", "msg": "m", "parameters": {"detatch": true}}`, "detatch"},
		"a killing that leaves no trace":   {`{"action": "delete", "msg": "m", "parameters": {"gracePeriodSeconds": 0}}`, "leaves no evidence"},
		"a label that is Kubernetes'":      {`{"action": "label", "msg": "m", "parameters": {"labels": {"app.kubernetes.io/name": "x"}}}`, "not for policies"},
		"a label of ours":                  {`{"action": "label", "msg": "m", "parameters": {"labels": {"runtime.portcullis.dev/quarantine": "x"}}}`, "not for policies"},
		"a duration that is none":          {`{"action": "isolate", "msg": "m", "parameters": {"ttl": "tomorrow"}}`, "no duration"},
		"a text where an object should be": {`"isolate"`, "{action, msg, parameters}"},
	} {
		t.Run(name, func(t *testing.T) {
			rules := "respond contains " + test.response + "\n\nrespond contains {\"action\": \"notify\", \"msg\": \"kept\"}"
			engine := mustCompile(t, bundleFiles("policies: [{policy: runtime/x}]\n", "x.rego", regoPolicy("runtime/x", "match: {events: {}}\n", rules)))
			got := asked(respondAt(t, engine, eventRequest(nil)))
			if len(got) != 2 || got[0] != "notify (enforce): kept" || !strings.Contains(got[1], test.want) {
				t.Errorf("got %q, want what is right and a fault that says %q", got, test.want)
			}
		})
	}
}

func TestAnExceptionWaivesAResponse(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: runtime/x}]\n",
		"x.rego", regoPolicy("runtime/x", "match: {events: {}}\n", `respond contains {"action": "isolate", "msg": "m"}`),
		"exceptions/a.yaml", "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Exception\nname: debugging\npolicy: runtime/x\nselector: {namespaces: [shop]}\nreason: A team debugs.\nowner: a@b.example\nexpires: 2026-04-01\n"))
	result := respondAt(t, engine, eventRequest(nil))
	if len(result.Responses) != 1 || result.Responses[0].ExceptedBy == "" || result.Responses[0].ExceptedUntil != "2026-04-01" {
		t.Errorf("got %+v, want one response that the exception waives", result.Responses)
	}
}

func TestAPolicyAboutEventsSaysSo(t *testing.T) {
	respond := `respond contains {"action": "notify", "msg": "m"}`
	for name, test := range map[string]struct{ custom, rules, want string }{
		"a respond rule without events":   {"match: {workload: any}\n", respond, "say which"},
		"events with a deny rule":         {"match: {events: {}}\n", "deny contains \"m\"", "respond rules only"},
		"events with both":                {"match: {events: {}}\n", "deny contains \"m\"\n" + respond, "respond rules only"},
		"events beside workloads":         {"match: {workload: any, events: {}}\n", respond, "nothing beside events"},
		"a priority that there is not":    {"match: {events: {priority: loud}}\n", respond, "priority"},
		"an empty tag":                    {"match: {events: {tags: [\"\"]}}\n", respond, "matches nothing"},
		"a field of the event not there":  {"match: {events: {}}\n", `respond contains {"action": "notify", "msg": input.event.ruel}`, "undefined ref"},
		"all resources for every caller":  {"match: {resources: [{group: \"*\", resources: [\"*\"]}]}\n", "deny contains \"m\"", "caller: pod"},
		"all resources of one group":      {"match: {caller: pod, resources: [{group: apps, resources: [\"*\"]}]}\n", "deny contains \"m\"", "stands for all groups"},
		"a caller that there is not":      {"match: {caller: node, resources: [{group: \"\", resources: [pods]}]}\n", "deny contains \"m\"", "caller \"node\""},
		"a response section with a slip":  {"", "", "mode"},
		"a response section with no glob": {"", "", "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			files := bundleFiles("policies: [{policy: runtime/x}]\n", "x.rego", regoPolicy("runtime/x", test.custom, test.rules))
			switch name {
			case "a response section with a slip":
				files = bundleFiles("response: {mode: enfroce}\npolicies: [{policy: runtime/x}]\n", "x.rego", regoPolicy("runtime/x", "match: {events: {}}\n", respond))
			case "a response section with no glob":
				files = bundleFiles("response: {protect: {namespaces: [\"\"]}}\npolicies: [{policy: runtime/x}]\n", "x.rego", regoPolicy("runtime/x", "match: {events: {}}\n", respond))
			}
			_, err := compileFiles(files)
			wantRefusal(t, err, test.want)
		})
	}
}

func TestEventsAreNoBusinessOfTheWebhook(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: runtime/x}, {policy: runtime/y}]\n",
		"x.rego", regoPolicy("runtime/x", "match: {events: {}}\n", `respond contains {"action": "isolate", "msg": "m"}`),
		"y.rego", regoPolicy("runtime/y", "match: {caller: pod, resources: [{group: \"*\", resources: [\"*\"]}], operations: [CREATE]}\n", `deny contains "m" if count(input.incidents) > 0`)))
	if got := engine.Interests(""); len(got) > 0 {
		t.Errorf("got interests %+v, want none", got)
	}
	wantSpoken(t, judge(t, engine, podRequest(plainPod), nil))
}
