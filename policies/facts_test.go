package policies

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

const readsServices = "match: {resources: [{group: '', resources: [pods]}]}\nreads: [{group: '', resource: services, scope: namespace%s}]"

func services(names ...string) []Object {
	var objects []Object
	for _, name := range names {
		objects = append(objects, Object{Version: "v1", Kind: "Service", Resource: "services", Namespace: "shop", Name: name, Raw: json.RawMessage(`{"metadata":{"name":"` + name + `"},"spec":{"type":"` + name + `"}}`)})
	}
	return objects
}

func TestNeedsAreWhatMatchingPoliciesRead(t *testing.T) {
	pods := "match: {resources: [{group: '', resources: [pods, namespaces]}, {group: rbac.authorization.k8s.io, resources: [clusterroles]}]}\n"
	for name, test := range map[string]struct {
		instance, custom, rules string
		request                 *Request
		namespace               string
		reads                   []Read
	}{
		"nothing":                             {"", pods, always, podRequest(plainPod), "", nil},
		"the namespace's labels":              {"", pods, `deny contains "x" if input.namespace.labels.a`, podRequest(plainPod), "shop", nil},
		"a namespace selector":                {"match: {namespaceSelector: {matchLabels: {a: b}}}", pods, always, podRequest(plainPod), "shop", nil},
		"a selector of what does not match":   {"match: {namespaces: [other], namespaceSelector: {matchLabels: {a: b}}}", pods, always, podRequest(plainPod), "", nil},
		"objects of the namespace":            {"", pods + "reads: [{group: '', resource: services, scope: namespace}]", `deny contains "x" if input.cluster[_].name`, podRequest(plainPod), "", []Read{{Resource: "services", Namespace: "shop"}}},
		"objects of the cluster":              {"", pods + "reads: [{group: apps, resource: deployments, scope: cluster}]", `deny contains "x" if input.cluster[_].name`, podRequest(plainPod), "", []Read{{Group: "apps", Resource: "deployments"}}},
		"one read declared twice":             {"", pods + "reads: [{group: '', resource: services, scope: namespace}, {group: '', resource: services, scope: namespace, more: denies}]", `deny contains "x" if input.cluster[_].name`, podRequest(plainPod), "", []Read{{Resource: "services", Namespace: "shop"}}},
		"the namespace of a patch, not asked": {"", pods, "patch contains {\"path\": [\"a\"], \"set\": 1} if input.namespace.labels.a\n" + always, podRequest(plainPod), "", nil},
		"a door the policy is not at":         {"", pods + "doors: [gate]\nreads: [{group: '', resource: services, scope: namespace}]", `deny contains "x" if input.cluster[_].name`, podRequest(plainPod), "", nil},
		"a Namespace that is being created":   {"", pods, `deny contains "x" if input.namespace.labels.a`, &Request{Door: DoorAdmission, Operation: "CREATE", Resource: namespaceResource, Name: "new", Object: []byte(`{}`)}, "", nil},
		"a Namespace that is being updated":   {"", pods, `deny contains "x" if input.namespace.labels.a`, &Request{Door: DoorAdmission, Operation: "UPDATE", Resource: namespaceResource, Name: "old", Object: []byte(`{}`)}, "old", nil},
	} {
		t.Run(name, func(t *testing.T) {
			instance := "policy: pods/x"
			if test.instance != "" {
				instance += ", " + test.instance
			}
			engine := mustCompile(t, bundleFiles("policies: [{"+instance+"}]\n", "x.rego", regoPolicy("pods/x", test.custom, test.rules)))
			needs := engine.Needs(test.request, PhaseValidate)
			if needs.Namespace != test.namespace || !slices.Equal(needs.Reads, test.reads) {
				t.Errorf("got %+v, want namespace %q and reads %+v", needs, test.namespace, test.reads)
			}
			if got, want := needs.Empty(), test.namespace == "" && test.reads == nil; got != want {
				t.Errorf("got empty = %v, want %v", got, want)
			}
		})
	}
}

// Row 36, CVE-2025-46342: when the labels of a namespace could not be had, they counted as none,
// and rules with a selector did not apply.
func TestBypass36AnUnknownNamespaceIsNotOneWithoutLabels(t *testing.T) {
	for name, bundle := range map[string][2]string{
		"a selector":                   {"policies: [{policy: pods/x, match: {namespaceSelector: {matchLabels: {team: shop}}}}]\n", always},
		"a selector that exempts":      {"policies: [{policy: pods/x, match: {namespaceSelector: {matchExpressions: [{key: exempt, operator: Exists}]}}}]\n", always},
		"a policy that reads labels":   {"policies: [{policy: pods/x}]\n", `deny contains "x" if input.namespace.labels.strict`},
		"one that denies without them": {"policies: [{policy: pods/x}]\n", `deny contains "x" if not input.namespace.labels.exempt`},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles(bundle[0], "x.rego", regoPolicy("pods/x", "", bundle[1])))
			missing := &Facts{NamespaceMissing: "the watch has not begun"}
			for door, want := range map[Door]string{
				DoorAdmission: "pods/x fault: facts not available",
				DoorAudit:     "pods/x fault: facts not available",
				DoorGate:      "pods/x undecided",
			} {
				r := podRequest(plainPod)
				r.Door = door
				result := judge(t, engine, r, missing)
				wantSpoken(t, result, want)
				for _, f := range result.Faults {
					if f.Message != "cannot know the labels of namespace shop: the watch has not begun" {
						t.Errorf("got message %q", f.Message)
					}
				}
			}
		})
	}
}

func TestAProfileLabelThatCannotBeReadIsAFaultAndAnUnknownProfileToo(t *testing.T) {
	engine := mustCompile(t, bundleFiles(`
profileLabel: policy.portcullis.dev/profile
policies: [{policy: namespaces/protected-labels}]
profiles: [{name: normal}, {name: strict, policies: [{policy: pods/x}]}]
defaultProfile: normal
`, "x.rego", regoPolicy("pods/x", "", always), "g.rego", regoPolicy("namespaces/protected-labels",
		"match: {resources: [{group: '', resources: [namespaces]}]}\nparameters: {properties: {labels: {type: array, default: ['policy.portcullis.dev/*']}}}", `deny contains "x" if input.parameters.labels[_] == "never"`)))
	with := func(labels map[string]string) *Facts {
		return &Facts{Namespace: &Namespace{Name: "shop", Labels: labels}}
	}
	for name, test := range map[string]struct {
		facts   *Facts
		door    Door
		profile string
		says    []string
	}{
		"no label":                     {with(nil), DoorAdmission, "normal", nil},
		"a label":                      {with(map[string]string{"policy.portcullis.dev/profile": "strict"}), DoorAdmission, "strict", []string{"pods/x: always"}},
		"an unknown profile":           {with(map[string]string{"policy.portcullis.dev/profile": "nobody"}), DoorAdmission, "", []string{" fault: facts not available"}},
		"an empty label":               {with(map[string]string{"policy.portcullis.dev/profile": ""}), DoorAdmission, "", []string{" fault: facts not available"}},
		"no namespace":                 {&Facts{NamespaceMissing: "gone"}, DoorAdmission, "", []string{" fault: facts not available"}},
		"no namespace, at the gate":    {&Facts{NamespaceMissing: "gone"}, DoorGate, "", []string{" undecided"}},
		"no label, in another profile": {with(map[string]string{"other": "strict"}), DoorGate, "normal", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := podRequest(plainPod)
			r.Door = test.door
			result := judge(t, engine, r, test.facts)
			wantSpoken(t, result, append([]string{}, test.says...)...)
			if result.Profile != test.profile {
				t.Errorf("got profile %q, want %q", result.Profile, test.profile)
			}
			for _, f := range result.Faults {
				if f.FailMode != FailClosed || f.Enforcement != EnforceDeny {
					t.Errorf("got fault %+v, want one that denies", f)
				}
			}
		})
	}
	if needs := engine.Needs(podRequest(plainPod), PhaseValidate); needs.Namespace != "shop" {
		t.Errorf("got needs %+v, want the labels of shop", needs)
	}
	created := &Request{Door: DoorAdmission, Operation: "CREATE", Resource: namespaceResource, Name: "new", Object: []byte(`{"metadata":{"name":"new"}}`)}
	if result := judge(t, engine, created, &Facts{}); len(result.Faults) > 0 {
		t.Errorf("got %+v for a Namespace that is being created, want no fault: it cannot be in the cluster yet", result.Faults)
	}
}

func TestAPartialReadDecidesOnlyWhatMoreObjectsCannotChange(t *testing.T) {
	const (
		// More services can only remove this finding, or only add that one.
		lacks = `deny contains "no service" if count([s | some s in input.cluster; s.object.spec.type == "good"]) == 0`
		bads  = `deny contains "bad service" if { some s in input.cluster; s.object.spec.type == "bad" }`
		warns = `warn contains "odd service" if { some s in input.cluster; s.object.spec.type == "odd" }`
	)
	for name, test := range map[string]struct {
		more, rules string
		objects     []string
		excepted    bool
		decided     []string // nil for undecided
	}{
		"more allows, and one is found":              {"allows", lacks, []string{"good"}, false, []string{}},
		"more allows, and none is found":             {"allows", lacks, []string{"bad"}, false, nil},
		"more allows, and the finding is waived":     {"allows", lacks, nil, true, []string{}},
		"more denies, and one is found":              {"denies", bads, []string{"bad"}, false, []string{"pods/x: bad service"}},
		"more denies, and none is found":             {"denies", bads, []string{"good"}, false, nil},
		"more denies, and the one found is waived":   {"denies", bads, []string{"bad"}, true, nil},
		"more denies, and only a warning is found":   {"denies", bads + "\n" + warns, []string{"odd"}, false, nil},
		"more denies a policy that only warns":       {"denies", warns, []string{"odd"}, false, []string{"pods/x: odd service"}},
		"nothing is said of more, and one is found":  {"", bads, []string{"bad"}, false, nil},
		"nothing is said of more, and none is found": {"", bads, []string{"good"}, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			more := ""
			if test.more != "" {
				more = ", more: " + test.more
			}
			files := bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", regoPolicy("pods/x", fmt.Sprintf(readsServices, more), test.rules))
			if test.excepted {
				files = bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", regoPolicy("pods/x", fmt.Sprintf(readsServices, more), test.rules),
					"exceptions/e.yaml", exceptionFile("e", "{namespaces: [shop]}", "2026-03-02"))
			}
			engine := mustCompile(t, files)
			facts := &Facts{Cluster: services(test.objects...), Partial: map[Read]string{{Resource: "services", Namespace: "shop"}: "only the files of this run are known"}}
			gate, live := podRequest(plainPod), podRequest(plainPod)
			gate.Door = DoorGate
			if test.decided == nil {
				wantSpoken(t, judge(t, engine, gate, facts), "pods/x undecided")
				wantSpoken(t, judge(t, engine, live, facts), "pods/x fault: facts not available")
				return
			}
			wantSpoken(t, judge(t, engine, gate, facts), test.decided...)
			wantSpoken(t, judge(t, engine, live, facts), test.decided...)
		})
	}
}

func TestPatchesAreNotMadeOnPartialFacts(t *testing.T) {
	engine := mustCompile(t, onePolicy(fmt.Sprintf(readsServices, ", more: allows"), `patch contains {"path": ["metadata", "labels", "n"], "set": "a"} if count(input.cluster) == 0`))
	facts := &Facts{Partial: map[Read]string{{Resource: "services", Namespace: "shop"}: "not listed yet"}}
	result := engine.Evaluate(t.Context(), podRequest(plainPod), facts, noon, PhaseMutate)
	if len(result.Patches) > 0 || len(result.Faults) != 1 || result.Faults[0].Kind != FaultFacts {
		t.Errorf("got %+v, want a fault and no patch", result)
	}
}

func TestTheOrderInWhichFactsWereGatheredChangesNothing(t *testing.T) {
	engine := mustCompile(t, onePolicy(fmt.Sprintf(readsServices, ""), `deny contains concat(",", [sprintf("%s/%s/%s", [s.namespace, s.name, s.object.spec.type]) | some s in input.cluster])`))
	objects := services("c", "a", "b")
	// Two objects of one name (generated names are none yet) differ in what they hold.
	for _, kind := range []string{"z", "y", "x"} {
		objects = append(objects, Object{Version: "v1", Kind: "Service", Resource: "services", Namespace: "shop", Raw: json.RawMessage(`{"spec":{"type":"` + kind + `"}}`)})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		random.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
		wantSpoken(t, judge(t, engine, podRequest(plainPod), &Facts{Cluster: objects}), "pods/x: shop//x,shop//y,shop//z,shop/a/a,shop/b/b,shop/c/c")
	}
}
