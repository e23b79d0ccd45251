package policies

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// endless takes far longer than any deadline of a test.
const endless = `deny contains "never" if count([1 | some a in data.many; some b in data.many; some c in data.many; some d in data.many; a + b + c + d < 0]) > 0`

// many is data for endless.
var many = "[" + strings.TrimSuffix(strings.Repeat("1,", 2000), ",") + "]"

func TestARuleThatFailsIsAFault(t *testing.T) {
	for name, test := range map[string]struct {
		rule string
		says string
	}{
		"division by zero":                   {`deny contains "x" if 1 / count(object.get(input.object, "nothing", [])) > 0`, "divide by zero"},
		"a text that is no number":           {`deny contains "x" if to_number(input.object.metadata.name) > 0`, "to_number"},
		"a text that is no JSON":             {`deny contains "x" if json.unmarshal(input.object.metadata.name)`, "json.unmarshal"},
		"a name of the wrong type":           {`deny contains "x" if lower(input.object.spec) == "a"`, "lower"},
		"a rule of two values":               {"deny contains \"x\" if v > 0\nv := 1 if input.object.metadata.name\nv := 2 if input.object.kind", "conflicting values"},
		"a function of two values":           {"deny contains \"x\" if f(1) > 0\nf(x) := x if input.object.kind\nf(x) := x + 1 if input.object.kind", "conflicting values"},
		"a finding without msg":              {`deny contains {"path": "spec"} if input.object.kind`, "no msg"},
		"a finding with an empty msg":        {`deny contains {"msg": ""} if input.object.kind`, "no msg"},
		"an empty text as finding":           {`deny contains "" if input.object.kind`, "no msg"},
		"a finding with an unknown field":    {`deny contains {"msg": "a", "paths": "b"} if input.object.kind`, "paths"},
		"a msg that is a list":               {`deny contains {"msg": ["a"]} if input.object.kind`, "not {msg, path"},
		"a path that is a list":              {`deny contains {"msg": "a", "path": ["spec"]} if input.object.kind`, "not {msg, path"},
		"a fix that is a text":               {`deny contains {"msg": "a", "fix": "remove it"} if input.object.kind`, "not {msg, path"},
		"a number as finding":                {`deny contains 1 if input.object.kind`, "not {msg, path"},
		"a list as finding":                  {`deny contains ["a"] if input.object.kind`, "not {msg, path"},
		"a set as finding":                   {`deny contains {"a"} if input.object.kind`, "not {msg, path"},
		"a failure in a warn rule":           {"warn contains \"x\" if to_number(input.object.kind) > 0", "to_number"},
		"a failure in a helper behind a not": {"deny contains \"x\" if not h\nh if to_number(input.object.kind) > 0", "to_number"},
		"a failure in a comprehension":       {`deny contains "x" if count([1 | to_number(input.object.kind) > 0]) > 0`, "to_number"},
		"a number with a billion digits":     {`deny contains "x" if json.unmarshal(input.object.metadata.annotations.huge) > 1`, "number"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/before}, {policy: pods/x}, {policy: pods/z}]\n",
				"x.rego", regoPolicy("pods/x", "", test.rule),
				"before.rego", regoPolicy("pods/before", "", always),
				"z.rego", regoPolicy("pods/z", "", always)))
			pod := strings.Replace(plainPod, `"name":"shop"`, `"name":"shop","annotations":{"huge":"1e999999999"}`, 1)
			result := judge(t, engine, podRequest(pod), nil)
			wantSpoken(t, result, "pods/before: always", "pods/z: always", "pods/x fault: evaluation error")
			if len(result.Faults) == 1 && !strings.Contains(result.Faults[0].Message, test.says) {
				t.Errorf("got message %q, want it to say %q", result.Faults[0].Message, test.says)
			}
		})
	}
}

func TestAFaultSaysWhatThePolicyMakesOfIt(t *testing.T) {
	engine := mustCompile(t, bundleFiles(`
policies:
  - {policy: pods/x}
  - {policy: pods/x, name: open, failMode: open}
  - {policy: pods/x, name: warn, enforcement: warn}
`, "x.rego", regoPolicy("pods/x", "", `deny contains "x" if to_number(input.object.kind) > 0`)))
	result := judge(t, engine, podRequest(plainPod), nil)
	got := map[string]bool{}
	for _, f := range result.Faults {
		got[fmt.Sprint(f.Policy, " ", f.FailMode, " ", f.Enforcement)] = true
	}
	for _, want := range []string{"pods/x closed deny", "pods/x open deny", "pods/x closed warn"} {
		if !got[want] {
			t.Errorf("got faults %v, want one that is %s", got, want)
		}
	}
}

// Good findings beside a bad one are kept: the fault must not hide them.
func TestAFindingThatCannotBeReadDoesNotHideTheOthers(t *testing.T) {
	engine := mustCompile(t, onePolicy("", "deny contains \"good\" if input.object.kind\ndeny contains {\"path\": \"spec\"} if input.object.kind"))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), "pods/x: good", "pods/x fault: evaluation error")
}

func TestADeadlineBoundsAnEvaluation(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "data/many.json", many, "x.rego", regoPolicy("pods/x", "", endless)))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	started := time.Now()
	result := engine.Evaluate(ctx, podRequest(plainPod), &Facts{}, noon, PhaseValidate)
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("got an answer after %v, want it near the deadline of 200ms", took)
	}
	wantSpoken(t, result, "pods/x fault: deadline exceeded")
}

func TestACallerThatHasGoneGetsFaults(t *testing.T) {
	engine := mustCompile(t, onePolicy("", always))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	result := engine.Evaluate(ctx, podRequest(plainPod), &Facts{}, noon, PhaseValidate)
	wantSpoken(t, result, "pods/x fault: deadline exceeded")
}

// No built-in that policies may call panics reliably, so the test makes the
// evaluator panic by taking its compiler away.
func TestAPanicIsAFaultOfThePolicy(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}, {policy: pods/y}]\n",
		"x.rego", regoPolicy("pods/x", "", always),
		"y.rego", regoPolicy("pods/y", "match: {resources: [{group: '', resources: [pods]}]}", always)))
	panicking := engine.profiles[noProfile].instances[0]
	if panicking.Name != "pods/x" {
		t.Fatalf("got %s first, want pods/x", panicking.Name)
	}
	engine.beforeRun = func(p *plan) {
		for _, i := range p.instances {
			if i.number == panicking.number {
				panic("a nil map was written to")
			}
		}
	}
	result := judge(t, engine, podRequest(plainPod), nil)
	wantSpoken(t, result, "pods/y: always", "pods/x fault: panic")
	if !strings.Contains(result.Faults[0].Message, "a nil map was written to") {
		t.Errorf("got message %q, want it to say what the panic said", result.Faults[0].Message)
	}
}

func TestAnObjectThatCannotBeReadIsAFaultOfThoseWhoReadIt(t *testing.T) {
	for name, test := range map[string]struct {
		object string
		want   []string
	}{
		"a key twice":                       {`{"kind":"Pod","metadata":{"annotations":{"a":"1","a":"2"}},"spec":{"containers":[]}}`, []string{"pods/request: always", "pods/annotations fault: unreadable input", "pods/raw fault: unreadable input", "pods/workload fault: unreadable input"}},
		"a number with a billion digits":    {`{"kind":"Pod","other":{"a":1e999999999},"spec":{"containers":[]}}`, []string{"pods/request: always", "pods/workload: 0", "pods/raw fault: unreadable input"}},
		"a number of a thousand digits":     {`{"kind":"Pod","other":{"a":` + strings.Repeat("1", 1000) + `},"spec":{"containers":[]}}`, []string{"pods/request: always", "pods/workload: 0", "pods/raw fault: unreadable input"}},
		"text that is no UTF-8":             {"{\"kind\":\"Pod\",\"other\":{\"a\":\"\xff\"},\"spec\":{\"containers\":[]}}", []string{"pods/request: always", "pods/annotations fault: unreadable input", "pods/raw fault: unreadable input", "pods/workload fault: unreadable input"}},
		"nesting beyond all measure":        {`{"kind":"Pod","other":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `,"spec":{"containers":[]}}`, []string{"pods/request: always", "pods/workload: 0", "pods/raw fault: unreadable input"}},
		"something behind the object":       {`{"kind":"Pod","spec":{"containers":[]}} {}`, []string{"pods/request: always", "pods/annotations fault: unreadable input", "pods/raw fault: unreadable input", "pods/workload fault: unreadable input"}},
		"a list of containers that is none": {`{"kind":"Pod","spec":{"containers":{"a":1}}}`, []string{"pods/request: always", "pods/workload fault: unreadable input"}},
	} {
		t.Run(name, func(t *testing.T) {
			about := "match: {resources: [{group: '', resources: [pods]}]}"
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/request}, {policy: pods/annotations}, {policy: pods/raw}, {policy: pods/workload}]\n",
				"request.rego", regoPolicy("pods/request", about, always),
				"annotations.rego", regoPolicy("pods/annotations", about, `deny contains "x" if input.object.metadata.annotations.b`),
				"raw.rego", regoPolicy("pods/raw", about, `deny contains "x" if input.object.other[_] == 1`),
				"workload.rego", regoPolicy("pods/workload", "", `deny contains sprintf("%d", [count(input.workload.containers)])`)))
			wantSpoken(t, judge(t, engine, podRequest(test.object), nil), test.want...)
		})
	}
}

// A policy that ran out of time on one template is left out of the others. What it would have
// found there must not be remembered as nothing.
func TestWhatAnExhaustedPolicyDidNotSeeIsNotRemembered(t *testing.T) {
	slow := strings.Replace(endless, " if ", ` if {
	input.workload.containers[_].image == "slow:1"
	`, 1) + "\n}"
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "data/many.json", many,
		"x.rego", regoPolicy("pods/x", "", slow+"\n"+`deny contains "bad" if input.workload.containers[_].image == "bad:1"`)))
	workflow := func(first string) *Request {
		return objectRequest("argoproj.io", "v1alpha1", "workflows", "Workflow", `{"kind":"Workflow","spec":{"templates":[
			{"name":"a","container":{"image":"`+first+`"}},{"name":"b","container":{"image":"bad:1"}}]}}`)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	wantSpoken(t, engine.Evaluate(ctx, workflow("slow:1"), &Facts{}, noon, PhaseValidate), "pods/x fault: deadline exceeded")
	wantSpoken(t, judge(t, engine, workflow("good:1"), &Facts{}), "pods/x: bad")
}
