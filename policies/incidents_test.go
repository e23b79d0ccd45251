package policies

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	quarantined = `{"apiVersion":"runtime.portcullis.dev/v1alpha1","kind":"Quarantine","metadata":{"name":%q},"spec":{"pod":{"namespace":"shop","name":"a","uid":"u-1"},"mode":"enforce","triggers":[{"policy":"runtime/x","message":"A shell.","event":"e","rule":"r","priority":"critical","time":null}],"actions":[]},"status":{"phase":%q,"podGone":%v}}`
	remembered  = `{"apiVersion":"runtime.portcullis.dev/v1alpha1","kind":"Incident","metadata":{"name":%q},"spec":{"scope":"digest","digest":"sha256:aa","effect":"warn","reason":"A miner.","expires":%q}}`
)

func incidentFacts(objects ...string) *Facts {
	facts := &Facts{Namespace: &Namespace{Name: "shop"}}
	for _, raw := range objects {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
		}
		_ = json.Unmarshal([]byte(raw), &object)
		facts.Cluster = append(facts.Cluster, Object{
			Group: "runtime.portcullis.dev", Version: "v1alpha1", Kind: object.Kind, Resource: strings.ToLower(object.Kind) + "s", Name: object.Metadata.Name, Raw: []byte(raw),
		})
	}
	return facts
}

const sayIncidents = `deny contains sprintf("%s %s %s", [i.scope, i.name, i.reason]) if some i in input.incidents`

func TestPoliciesSeeIncidentsInForce(t *testing.T) {
	engine := mustCompile(t, onePolicy("match: {workload: any}\n", sayIncidents))
	facts := incidentFacts(
		fmt.Sprintf(quarantined, "q-2", "Contained", false), fmt.Sprintf(quarantined, "q-1", "Containing", false),
		fmt.Sprintf(quarantined, "q-gone", "Contained", true), fmt.Sprintf(quarantined, "q-over", "Released", false),
		fmt.Sprintf(quarantined, "q-new", "", false), fmt.Sprintf(quarantined, "q-audit", "Audited", false),
		fmt.Sprintf(remembered, "i-1", "2026-03-01T12:00:01Z"), fmt.Sprintf(remembered, "i-old", "2026-03-01T12:00:00Z"))
	want := []string{"pods/x: digest i-1 A miner.", "pods/x: pod q-1 A shell.", "pods/x: pod q-2 A shell."}
	wantSpoken(t, judge(t, engine, podRequest(plainPod), facts), want...)

	slices.Reverse(facts.Cluster)
	wantSpoken(t, judge(t, engine, podRequest(plainPod), facts), want...)
}

func TestWhoeverReadsIncidentsNeedsThem(t *testing.T) {
	engine := mustCompile(t, onePolicy("match: {workload: any}\n", sayIncidents))
	request := podRequest(plainPod)
	if got := engine.Needs(request, PhaseValidate).Reads; !slices.Equal(got, incidentReads) {
		t.Errorf("got needs %+v, want %+v", got, incidentReads)
	}
	facts := incidentFacts()
	facts.Partial = map[Read]string{incidentReads[0]: "they have not been listed yet"}
	wantSpoken(t, judge(t, engine, request, facts), "pods/x fault: facts not available")
	facts = incidentFacts(`{"kind":"Incident","metadata":{"name":"i"},"spec":{"expires":7}}`)
	wantSpoken(t, judge(t, engine, request, facts), "pods/x fault: unreadable input")
	request.Door = DoorGate
	facts = incidentFacts()
	facts.Partial = map[Read]string{incidentReads[1]: "no cluster was given"}
	wantSpoken(t, judge(t, engine, request, facts), "pods/x undecided")
}

// What is gathered for input.incidents is no object for policies that list others.
func TestIncidentsAreNotAmongTheClustersObjects(t *testing.T) {
	reads := "reads: [{group: networking.k8s.io, resource: networkpolicies, scope: namespace}]\n"
	rule := `deny contains sprintf("%d objects, %d incidents", [count(input.cluster), count(input.incidents)])`
	engine := mustCompile(t, onePolicy(reads, rule))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), incidentFacts(fmt.Sprintf(quarantined, "q-1", "Contained", false))), "pods/x: 0 objects, 1 incidents")

	declared := "reads: [{group: runtime.portcullis.dev, resource: quarantines, scope: cluster}]\n"
	engine = mustCompile(t, onePolicy(declared, rule))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), incidentFacts(fmt.Sprintf(quarantined, "q-1", "Contained", false))), "pods/x: 1 objects, 1 incidents")
}

func TestAPolicyAboutPodsThatAskIsAskedAboutNobodyElse(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: runtime/x}]\n", "x.rego",
		regoPolicy("runtime/x", "match: {caller: pod, resources: [{group: \"*\", resources: [\"*\"]}], operations: [CREATE, DELETE]}\n",
			`deny contains i.name if {
	some i in input.incidents
	some extra in input.subject.extra
	extra.key == "authentication.kubernetes.io/pod-uid"
	i.pod.uid in extra.values
}`)))
	facts := incidentFacts(fmt.Sprintf(quarantined, "q-1", "Contained", false))
	request := objectRequest("example.org", "v1", "widgets", "Widget", `{"kind":"Widget"}`)
	if engine.Matches(request) {
		t.Error("got a match for a person, want none")
	}
	request.Subject.Extra = map[string][]string{podUID: {"u-1"}}
	if !engine.Matches(request) {
		t.Error("got no match for a pod, want one")
	}
	wantSpoken(t, judge(t, engine, request, facts), "runtime/x: q-1")
	request.Subject.Extra = map[string][]string{podUID: {"u-2", "u-1"}}
	wantSpoken(t, judge(t, engine, request, facts), "runtime/x: q-1")
	request.Subject.Extra = map[string][]string{podUID: {"u-2"}}
	wantSpoken(t, judge(t, engine, request, facts))
	request.Operation, request.Subject.Extra = "CONNECT", map[string][]string{podUID: {"u-1"}}
	wantSpoken(t, judge(t, engine, request, facts))
	request.Operation, request.OldObject, request.Object = "DELETE", []byte(`{}`), nil
	request.Resource = metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	wantSpoken(t, judge(t, engine, request, facts), "runtime/x: q-1")
}

// The common case, a cluster without incidents, must cost a pod nothing.
func TestWithoutIncidentsNothingIsEvaluated(t *testing.T) {
	engine := mustCompile(t, onePolicy("", `deny contains sprintf("%s", [incident.name]) if {
	some incident in input.incidents
	incident.scope == "digest"
	some image in input.images
	image.digest == incident.digest
}`))
	evaluated := 0
	engine.beforeRun = func(*plan) { evaluated++ }
	judge(t, engine, podRequest(plainPod), incidentFacts())
	judge(t, engine, podRequest(plainPod), incidentFacts(fmt.Sprintf(quarantined, "q-1", "Contained", false), fmt.Sprintf(remembered, "i-old", "2026-03-01T11:00:00Z")))
	if evaluated != 0 {
		t.Errorf("got %d evaluations, want none", evaluated)
	}
	pod := strings.Replace(plainPod, `"app:1"`, `"app@sha256:`+strings.Repeat("a", 64)+`"`, 1)
	fits := strings.Replace(fmt.Sprintf(remembered, "i-1", "2026-03-02T12:00:00Z"), "sha256:aa", "sha256:"+strings.Repeat("a", 64), 1)
	wantSpoken(t, judge(t, engine, podRequest(pod), incidentFacts(fits)), "pods/x: i-1")
	facts := incidentFacts()
	facts.Partial = map[Read]string{incidentReads[1]: "they have not been listed yet"}
	wantSpoken(t, judge(t, engine, podRequest(pod), facts), "pods/x fault: facts not available")
}
