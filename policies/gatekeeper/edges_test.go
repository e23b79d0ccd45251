package gatekeeper

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-dev/portcullis/policies"
)

func TestExcludedNamespacesAreNotInTheInventoryNorMutated(t *testing.T) {
	const config = "apiVersion: config.gatekeeper.sh/v1alpha1\nkind: Config\nmetadata: {name: config}\n" +
		"spec: {match: [{processes: [sync], excludedNamespaces: [hidden]}, {processes: [mutation-webhook], excludedNamespaces: [shop]}]}\n"
	e := load(t, config, syncConfigMaps, templateOf("Once", lookupRego), constraintOf("Once", "c", "{}"),
		mutatorOf("Assign", "m", "{"+pods+"location: spec.priority, parameters: {assign: {value: 1}}}"))
	r := requestFor(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: web}\n")
	facts := &policies.Facts{Cluster: []policies.Object{configMap("hidden", "c"), configMap("seen", "c")}}
	if got, want := said(evaluate(e, r, facts)), "gatekeeper/once c deny: seen\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if object, _ := patched(t, e, requestFor(t, pod), noFacts()); strings.Contains(object, "priority") {
		t.Errorf("got %s, want a pod of an excluded namespace left alone", object)
	}
	other := strings.Replace(pod, "namespace: shop", "namespace: web", 1)
	if object, _ := patched(t, e, requestFor(t, other), noFacts()); !strings.Contains(object, `"priority":1`) {
		t.Errorf("got %s, want a pod of another namespace mutated", object)
	}
}

func TestSubresources(t *testing.T) {
	e := load(t, templateOf("Always", alwaysRego), constraintOf("Always", "c", "{}"),
		mutatorOf("Assign", "m", "{"+pods+"location: spec.priority, parameters: {assign: {value: 1}}}"))
	for name, test := range map[string]struct {
		subresource, operation string
		judged, mutated        bool
	}{
		"a pod that is made":                   {"", "CREATE", true, true},
		"a pod that changes":                   {"", "UPDATE", true, true},
		"containers that are put into a pod":   {"ephemeralcontainers", "UPDATE", true, false},
		"a pod that is resized":                {"resize", "UPDATE", true, false},
		"the status, which the kubelet writes": {"status", "UPDATE", false, false},
	} {
		r := requestFor(t, pod)
		r.SubResource, r.Operation = test.subresource, test.operation
		if got := evaluate(e, r, noFacts()).Matched > 0; got != test.judged {
			t.Errorf("%s: got judged %v, want %v", name, got, test.judged)
		}
		result := e.Evaluate(context.Background(), r, noFacts(), noon, policies.PhaseMutate)
		if got := len(result.Patches) > 0; got != test.mutated {
			t.Errorf("%s: got mutated %v, want %v", name, got, test.mutated)
		}
	}
}

func TestAnObjectThatChangesInPlaceIsSeen(t *testing.T) {
	const rego = "package a\nviolation[{\"msg\": value}] { value := data.inventory.namespace.web.v1.ConfigMap.c.data.key }"
	e := load(t, syncConfigMaps, templateOf("Value", rego), constraintOf("Value", "c", "{}"))
	r := requestFor(t, pod)
	object := configMap("web", "c")
	for _, value := range []string{"one", "two", "two"} {
		object.Raw = fmt.Appendf(nil, `{"metadata":{"name":"c","namespace":"web"},"data":{"key":%q}}`, value)
		want := "gatekeeper/value c deny: " + value + "\n"
		if got := said(evaluate(e, r, &policies.Facts{Cluster: []policies.Object{object}})); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	var d decoded
	large := bytes.Repeat([]byte("x"), 1<<20)
	for n := range 64 {
		if _, err := d.value(fmt.Appendf(nil, `{"n":%d,"text":%q}`, n, large)); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, objects := range []map[*byte]decodedObject{d.recent, d.older} {
		for _, object := range objects {
			total += len(object.raw)
		}
	}
	if total == 0 || total > maxDecoded {
		t.Errorf("got %d bytes remembered, want some and at most %d", total, maxDecoded)
	}
}

func TestARedactedOldObjectMattersWhereItIsRead(t *testing.T) {
	e := load(t, templateOf("Reads", "package a\nviolation[{\"msg\": \"x\"}] { input.review.operation == \"DELETE\"; input.review.object.data }"), constraintOf("Reads", "c", "{}"))
	for operation, want := range map[string]bool{"DELETE": true, "UPDATE": false} {
		r := requestFor(t, pod)
		r.Operation, r.OldObject, r.Redacted = operation, r.Object, []string{"oldObject.data"}
		if got := strings.Contains(said(evaluate(e, r, noFacts())), "not replayable"); got != want {
			t.Errorf("%s: got undecided %v, want %v", operation, got, want)
		}
	}
}

func TestDetailsThatAreTooLargeAreLeftOut(t *testing.T) {
	rego := "package a\nviolation[{\"msg\": \"x\", \"details\": {\"text\": input.parameters.text}}] { true }"
	for name, test := range map[string]struct {
		size int
		kept bool
	}{"small": {100, true}, "large": {maxDetailsBytes, false}} {
		e := load(t, templateOf("Say", rego), constraintOf("Say", "c", "{parameters: {text: "+strings.Repeat("x", test.size)+"}}"))
		findings := evaluate(e, requestFor(t, pod), noFacts()).Findings
		if len(findings) != 1 || (findings[0].Details != nil) != test.kept {
			t.Errorf("%s: got %d findings with details %.80v, want them kept %v", name, len(findings), findings[0].Details, test.kept)
		}
	}
}

func TestEnginesAreForManyAtOnce(t *testing.T) {
	e := load(t, syncConfigMaps, templateOf("Once", lookupRego), constraintOf("Once", "c", "{}"),
		mutatorOf("Assign", "m", "{"+pods+"location: spec.priority, parameters: {assign: {value: 1}}}"))
	facts := &policies.Facts{Cluster: []policies.Object{configMap("web", "c"), configMap("web", "d")}}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for n := range 50 {
				r := requestFor(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n")
				of := *facts
				if n%3 == 0 {
					of.Cluster = []policies.Object{configMap("web", "c")}
				}
				if got := said(evaluate(e, r, &of)); got != "gatekeeper/once c deny: web\n" {
					t.Errorf("got %q", got)
				}
				e.Evaluate(context.Background(), requestFor(t, pod), facts, noon, policies.PhaseMutate)
			}
		})
	}
	group.Wait()
}

// expansionOf expands one kind of the group example.com to another.
func expansionOf(name, from, to string) string {
	return "apiVersion: expansion.gatekeeper.sh/v1beta1\nkind: ExpansionTemplate\nmetadata: {name: " + name + "}\n" +
		"spec: {applyTo: [{groups: [example.com], versions: [v1], kinds: [" + from + "]}], templateSource: spec.template, generatedGVK: {group: example.com, version: v1, kind: " + to + "}}\n"
}

func TestExpansionComesToAnEnd(t *testing.T) {
	_, err := Load(folder(expansionOf("v", "A", "B"), expansionOf("w", "B", "C"), expansionOf("z", "C", "A")), Options{})
	if err == nil || !strings.Contains(err.Error(), "ExpansionTemplate v: with others it expands what it generates itself") {
		t.Errorf("got %v, want a circle refused", err)
	}
	object := "spec: {}"
	documents := []string{templateOf("Always", alwaysRego), constraintOf("Always", "c", "{match: {kinds: [{kinds: [E]}]}}")}
	for n, kind := range []string{"A", "B", "C", "D"} {
		for copies := range 4 { // 4 x 4 x 4 x 4 objects in the end
			documents = append(documents, expansionOf(fmt.Sprintf("%s%d", strings.ToLower(kind), copies), kind, string(rune("B"[0]+byte(n)))))
		}
		object = "{template: {spec: " + strings.TrimPrefix(object, "spec: ") + "}}"
	}
	e := load(t, documents...)
	got := said(evaluate(e, requestFor(t, "apiVersion: example.com/v1\nkind: A\nmetadata: {name: a1, namespace: shop}\nspec: "+object+"\n"), noFacts()))
	if want := "fault gatekeeper/expansion deny evaluation error: the ExpansionTemplates make more than 100 objects of this one\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestANamespaceThatIsReadAndNotKnownIsAFault(t *testing.T) {
	e := load(t, templateOf("Team", "package a\nviolation[{\"msg\": \"x\"}] { not input.review.namespaceObject.metadata.labels.team }"), constraintOf("Team", "c", "{}"))
	r := requestFor(t, pod)
	if needs := e.Needs(r, policies.PhaseValidate); needs.Namespace != "shop" {
		t.Errorf("got needs %+v, want the namespace", needs)
	}
	if got, want := said(evaluate(e, r, &policies.Facts{NamespaceMissing: "gone"})), "fault gatekeeper/team deny facts not available: constraint c: cannot know the namespace shop: gone\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	known := &policies.Facts{Namespace: &policies.Namespace{Name: "shop", Labels: map[string]string{"team": "a"}}}
	if got := said(evaluate(e, r, known)); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}
