package policies

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWhatAPolicyGivesIsBounded(t *testing.T) {
	judgeRules := func(t *testing.T, rules string) Result {
		t.Helper()
		pod := strings.Replace(plainPod, `"name":"shop"`, `"name":"shop","annotations":{"long":"`+strings.Repeat("ä", 1<<20)+`"}`, 1)
		return judge(t, mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "data/many.json", many, "x.rego", regoPolicy("pods/x", "", rules))), podRequest(pod), nil)
	}
	t.Run("a thousand findings are a hundred and a count", func(t *testing.T) {
		result := judgeRules(t, `deny contains sprintf("%d", [i]) if { some i, _ in data.many; input.object.kind; i < 1000 }`)
		if len(result.Findings) != maxFindings+1 || result.Findings[100].Message != "and 900 more findings of this policy" {
			t.Errorf("got %d findings, the last %q, want 100 and a count of 900", len(result.Findings), result.Findings[len(result.Findings)-1].Message)
		}
	})
	t.Run("exactly a hundred findings need no count", func(t *testing.T) {
		if result := judgeRules(t, `deny contains sprintf("%d", [i]) if { some i, _ in data.many; input.object.kind; i < 100 }`); len(result.Findings) != maxFindings {
			t.Errorf("got %d findings, want 100", len(result.Findings))
		}
	})
	t.Run("a message, path and remediation are cut between characters", func(t *testing.T) {
		f := judgeRules(t, `deny contains {"msg": t, "path": t, "remediation": t} if t := input.object.metadata.annotations.long`).Findings[0]
		for what, text := range map[string]string{"message": f.Message, "path": f.Path, "remediation": f.Remediation} {
			if n := utf8.RuneCountInString(text); n != maxMessageRunes || !utf8.ValidString(text) || !strings.HasSuffix(text, "ä…") {
				t.Errorf("got a %s of %d characters that ends in %q, want %d and an ellipsis", what, n, text[len(text)-5:], maxMessageRunes)
			}
		}
	})
	t.Run("huge details and fixes are left out, the finding is not", func(t *testing.T) {
		result := judgeRules(t, `deny contains {"msg": "m", "details": {"t": t}, "fix": [{"op": "set", "path": "a", "value": t}]} if t := input.object.metadata.annotations.long`)
		if len(result.Findings) != 1 || result.Findings[0].Details != nil || result.Findings[0].Fix != nil {
			t.Errorf("got %d findings with details of %d and a fix of %d, want one with neither", len(result.Findings), len(result.Findings[0].Details), len(result.Findings[0].Fix))
		}
	})
	t.Run("too many patches are a fault", func(t *testing.T) {
		engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "data/many.json", many, "x.rego", regoPolicy("pods/x", "", `patch contains {"path": ["a", sprintf("%d", [i])], "set": 1} if { some i, _ in data.many; input.object.kind }`)))
		result := engine.Evaluate(t.Context(), podRequest(plainPod), &Facts{}, noon, PhaseMutate)
		if len(result.Patches) != 0 || len(result.Faults) != 1 || !strings.Contains(result.Faults[0].Message, "2000 patches: at most 1000") {
			t.Errorf("got %d patches and faults %v, want none and a fault", len(result.Patches), result.Faults)
		}
	})
}

func TestPatchesAreReadStrictly(t *testing.T) {
	for name, test := range map[string]struct{ patch, says string }{
		"no path":                    {`{"set": 1}`, "path is empty"},
		"an empty path":              {`{"path": [], "set": 1}`, "path is empty"},
		"a path that is a text":      {`{"path": "a.b", "set": 1}`, "a patch is not"},
		"an index below zero":        {`{"path": ["a", -1], "set": 1}`, "index -1"},
		"an index that is no number": {`{"path": ["a", 1.5], "set": 1}`, "index 1.5"},
		"a segment that is true":     {`{"path": ["a", true], "set": 1}`, "neither key nor index"},
		"nothing to do":              {`{"path": ["a"]}`, "exactly one"},
		"two things to do":           {`{"path": ["a"], "set": 1, "remove": true}`, "exactly one"},
		"two values":                 {`{"path": ["a"], "set": 1, "setIfAbsent": 2}`, "exactly one"},
		"an unknown field":           {`{"path": ["a"], "value": 1}`, "value"},
		"a text":                     {`"a"`, "a patch is not"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy("", "patch contains "+test.patch+" if input.object.kind"))
			result := engine.Evaluate(t.Context(), podRequest(plainPod), &Facts{}, noon, PhaseMutate)
			if len(result.Patches) != 0 || len(result.Faults) != 1 || !strings.Contains(result.Faults[0].Message, test.says) {
				t.Errorf("got %v and faults %v, want a fault that says %q", result.Patches, result.Faults, test.says)
			}
		})
	}
	engine := mustCompile(t, onePolicy("", `patch contains {"path": ["a", 0, "b/c"], "setIfAbsent": {"n": 12345678901234567890}} if input.object.kind`))
	result := engine.Evaluate(t.Context(), podRequest(plainPod), &Facts{}, noon, PhaseMutate)
	if len(result.Patches) != 1 || fmt.Sprint(result.Patches[0].Path) != "[a 0 b/c]" || string(result.Patches[0].Value.(json.RawMessage)) != `{"n":12345678901234567890}` {
		t.Errorf("got %+v, want the path and the number as they were given", result.Patches)
	}
}

// Row 44: an object may be as large and odd as the API server lets it be.
func TestBypass44HugeObjectsAreJudged(t *testing.T) {
	for name, object := range map[string]string{
		"an annotation of 3 MB":       `{"kind":"Pod","metadata":{"annotations":{"a":"` + strings.Repeat("x", 3<<20) + `"}},"spec":{"containers":[{"name":"app","image":"a","securityContext":{"privileged":true}}]}}`,
		"a thousand containers":       `{"kind":"Pod","spec":{"containers":[` + strings.Repeat(`{"name":"c","image":"b"},`, 1000) + `{"name":"app","image":"a","securityContext":{"privileged":true}}]}}`,
		"nesting beside what is read": `{"kind":"Pod","metadata":{"managedFields":[{"fieldsV1":` + strings.Repeat(`{"f":`, 150) + "1" + strings.Repeat(`}`, 150) + `}]},"spec":{"containers":[{"name":"app","image":"a","securityContext":{"privileged":true}}]}}`,
		"a number beside it":          `{"kind":"Pod","status":{"n":1e-999999999},"spec":{"containers":[{"name":"app","image":"a","securityContext":{"privileged":true}}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}, {policy: pods/y}]\n", "x.rego", notPrivileged,
				"y.rego", regoPolicy("pods/y", "", `deny contains "all of it" if count(json.marshal(input.object)) > 0`)))
			wantSpoken(t, judge(t, engine, podRequest(object), nil), "pods/x: privileged", "pods/y: all of it")
		})
	}
}

func TestNumbersKeepTheirValue(t *testing.T) {
	engine := mustCompile(t, onePolicy("match: {resources: [{group: '', resources: [pods]}]}", `deny contains sprintf("%v", [n]) if { some n in input.object.numbers; n != 0 }`))
	for _, number := range []string{"1", "-1", "9007199254740993", "123456789012345678901234567890", "0.1"} {
		wantSpoken(t, judge(t, engine, podRequest(`{"numbers":[`+number+`]}`), nil), "pods/x: "+number)
	}
}
