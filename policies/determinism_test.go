package policies

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
)

// The same input gives the same bytes, whoever else is being judged and whatever is remembered.
func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	files := bundleFiles("policies: [{policy: pods/x}, {policy: pods/y}, {policy: pods/y, name: second, parameters: {limit: 2}}, {policy: pods/broken}, {policy: pods/patch}]\n",
		"x.rego", notPrivileged,
		"y.rego", regoPolicy("pods/y", "parameters: {properties: {limit: {type: integer, default: 1}}}\nreads: [{group: '', resource: services, scope: namespace}]", `
deny contains {"msg": sprintf("%s %d", [k, input.parameters.limit]), "path": sprintf("metadata.labels[%s]", [k]), "details": {"a": v, "b": k}} if some k, v in input.object.metadata.labels
warn contains sprintf("%s %s", [input.namespace.name, s.name]) if some s in input.cluster`),
		"broken.rego", regoPolicy("pods/broken", "", `deny contains "x" if to_number(input.object.metadata.name) > 0`),
		"patch.rego", regoPolicy("pods/patch", "", `patch contains {"path": ["metadata", "labels", k], "remove": true} if some k, _ in input.object.metadata.labels`))
	object := bad(`,"labels":{"a":"1","b":"2","c":"3","d":"4","e":"5"}`, "")
	facts := &Facts{Namespace: &Namespace{Name: "shop", Labels: map[string]string{"a": "b", "c": "d"}}, Cluster: services("c", "b", "a")}
	evaluate := func(e *Engine) string {
		var both []Result
		for _, phase := range []Phase{PhaseMutate, PhaseValidate} {
			both = append(both, e.Evaluate(context.Background(), podRequest(object), facts, noon, phase))
		}
		text, err := json.Marshal(both)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	want := evaluate(mustCompile(t, files))
	shared := mustCompile(t, files)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for n := range 100 {
				if got := evaluate(shared); got != want {
					t.Errorf("run %d: got\n%s\nwant\n%s", n, got, want)
					return
				}
			}
		})
	}
	group.Wait()
	for range 5 {
		if got := evaluate(mustCompile(t, files)); got != want {
			t.Errorf("another engine of the same bundle: got\n%s\nwant\n%s", got, want)
		}
	}
}

// Plans are kept for sets of instances; more sets than are kept must be no trouble.
func TestMoreSetsOfPoliciesThanPlansAreKept(t *testing.T) {
	manifest, files := "policies:\n", []string{}
	const policies = 11 // 2^11 sets
	for i := range policies {
		id := fmt.Sprintf("pods/p%d", i)
		manifest += fmt.Sprintf("  - {policy: %s, match: {objectSelector: {matchLabels: {l%d: x}}}}\n", id, i)
		files = append(files, fmt.Sprintf("p%d.rego", i), regoPolicy(id, "", always))
	}
	engine := mustCompile(t, bundleFiles(manifest, files...))
	for set := range 1 << policies {
		labels := map[string]string{}
		for i := range policies {
			if set&(1<<i) != 0 {
				labels[fmt.Sprintf("l%d", i)] = "x"
			}
		}
		metadata, err := json.Marshal(labels)
		if err != nil {
			t.Fatal(err)
		}
		result := judge(t, engine, podRequest(`{"kind":"Pod","metadata":{"labels":`+string(metadata)+`},"spec":{"containers":[]}}`), nil)
		if len(result.Findings) != len(labels) || result.Matched != len(labels) {
			t.Fatalf("set %b: got %d findings of %d policies, want %d", set, len(result.Findings), result.Matched, len(labels))
		}
	}
	if got := len(engine.plans); got > maxPlans {
		t.Errorf("got %d plans, want at most %d", got, maxPlans)
	}
}

// What is remembered of a workload must not outlive what it depends on.
func TestMemoryDoesNotStopTheClock(t *testing.T) {
	for name, rule := range map[string]string{
		"input.now":   `deny contains "late" if { some c in input.workload.containers; c.image; input.now >= "2026-03-01T13:00:00Z" }`,
		"time.now_ns": fmt.Sprintf(`deny contains "late" if { some c in input.workload.containers; c.image; time.now_ns() >= %d }`, noon.UnixNano()+3600e9),
		"a rule":      fmt.Sprintf("deny contains \"late\" if { late; input.workload.containers[0].image }\nlate if time.now_ns() >= %d", noon.UnixNano()+3600e9),
		"a function":  fmt.Sprintf("deny contains \"late\" if { late(input.workload.containers[0].image) }\nlate(_) if time.now_ns() >= %d", noon.UnixNano()+3600e9),
		"a choice":    fmt.Sprintf("deny contains \"late\" if { late; input.workload.containers[0].image }\nlate := false if time.now_ns() < %d\nelse := true", noon.UnixNano()+3600e9),
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy("", rule))
			for range 2 {
				wantSpoken(t, judgeAt(t, engine, podRequest(plainPod), nil, noon))
				wantSpoken(t, judgeAt(t, engine, podRequest(plainPod), nil, noon.Add(3600e9)), "pods/x: late")
			}
		})
	}
}
