package admission_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// rego is a policy about pods with some rules.
func rego(name, rules string) string {
	return "# METADATA\n# title: T\n# description: D.\n# custom:\n#   severity: low\n#   match: {resources: [{group: '', resources: [pods]}]}\n#   remediation: R.\n" +
		"#   reads: [{group: '', resource: services, scope: namespace}]\npackage portcullis.pods." + name + "\n\n" + rules + "\n"
}

// engine compiles a bundle of policies given as name, rules, name, rules.
func engine(t testing.TB, manifest string, policy ...string) *policies.Engine {
	t.Helper()
	files := fstest.MapFS{"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: test\nserial: 1\n" + manifest)}}
	for i := 0; i < len(policy); i += 2 {
		if strings.HasPrefix(policy[i], "exceptions/") {
			files[policy[i]] = &fstest.MapFile{Data: []byte(policy[i+1])}
			continue
		}
		files[policy[i]+".rego"] = &fstest.MapFile{Data: []byte(rego(policy[i], policy[i+1]))}
	}
	bundle, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// gathered are facts that note what was asked for.
type gathered struct {
	mu    sync.Mutex
	facts policies.Facts
	asked []policies.Needs
}

func (g *gathered) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, needs)
	return g.facts
}

func reviewer(e *policies.Engine) *admission.Reviewer {
	return admission.NewReviewer(e, &gathered{}, func() time.Time { return noon })
}

func pod(object string) admission.Request {
	return admission.Request{
		Door: admission.DoorAdmission, Operation: "CREATE", Namespace: "shop", Name: "shop",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object:   []byte(object),
	}
}

const object = `{"kind":"Pod","metadata":{"name":"shop","labels":{"a":"b"}},"spec":{"containers":[]}}`

const (
	denies = `deny contains "no" if input.object.kind`
	warns  = `warn contains "hm" if input.object.kind`
	fails  = `deny contains "no" if to_number(input.object.kind) > 0`
	reads  = `deny contains "no" if count(input.cluster) > 0`
)

func TestAVerdictAdmitsOnlyIfNothingSpeaksAgainstIt(t *testing.T) {
	missing := policies.Facts{Partial: map[policies.Read]string{{Resource: "services", Namespace: "shop"}: "not listed yet"}}
	for name, test := range map[string]struct {
		instance, rules              string
		facts                        policies.Facts
		door                         admission.Door
		admitted, denied, failed     bool
		findings, faults, undecideds int
	}{
		"nothing found":                             {"", `deny contains "no" if input.object.nothing`, policies.Facts{}, "admission", true, false, false, 0, 0, 0},
		"a denial":                                  {"", denies, policies.Facts{}, "admission", false, true, false, 1, 0, 0},
		"a denial that only warns":                  {", enforcement: warn", denies, policies.Facts{}, "admission", true, false, false, 1, 0, 0},
		"a denial that is only recorded":            {", enforcement: audit", denies, policies.Facts{}, "admission", true, false, false, 1, 0, 0},
		"a denial that is off":                      {", enforcement: off", denies, policies.Facts{}, "admission", true, false, false, 0, 0, 0},
		"a warning":                                 {"", warns, policies.Facts{}, "admission", true, false, false, 1, 0, 0},
		"a denial beside a fault":                   {"", denies + "\n" + strings.Replace(fails, `"no"`, `"other"`, 1), policies.Facts{}, "admission", false, false, true, 0, 1, 0},
		"a fault":                                   {"", fails, policies.Facts{}, "admission", false, false, true, 0, 1, 0},
		"a fault of one that fails open":            {", failMode: open", fails, policies.Facts{}, "admission", true, false, false, 0, 1, 0},
		"a fault of one that only warns":            {", enforcement: warn", fails, policies.Facts{}, "admission", true, false, false, 0, 1, 0},
		"a fault of one that records":               {", enforcement: audit", fails, policies.Facts{}, "admission", true, false, false, 0, 1, 0},
		"missing facts":                             {"", reads, missing, "admission", false, false, true, 0, 1, 0},
		"missing facts, failing open":               {", failMode: open", reads, missing, "admission", true, false, false, 0, 1, 0},
		"missing facts at the gate":                 {"", reads, missing, "gate", false, false, false, 0, 0, 1},
		"missing facts of one that warns":           {", enforcement: warn", reads, missing, "gate", true, false, false, 0, 0, 1},
		"missing facts in the audit":                {"", reads, missing, "audit", false, false, true, 0, 1, 0},
		"facts that are there":                      {"", reads, policies.Facts{Cluster: []policies.Object{{Resource: "services", Raw: []byte(`{}`)}}}, "admission", false, true, false, 1, 0, 0},
		"facts of which there are none":             {"", reads, policies.Facts{}, "admission", true, false, false, 0, 0, 0},
		"a fault of one, failing open at all doors": {", failMode: open", fails, policies.Facts{}, "audit", true, false, false, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := admission.NewReviewer(engine(t, "policies: [{policy: pods/x"+test.instance+"}]\n", "x", test.rules), &gathered{facts: test.facts}, func() time.Time { return noon })
			request := pod(object)
			request.Door = test.door
			v := r.Review(context.Background(), request)
			if v.Admitted != test.admitted || v.Denied() != test.denied || v.Failed() != test.failed ||
				len(v.Findings) != test.findings || len(v.Faults) != test.faults || len(v.Undecided) != test.undecideds {
				t.Errorf("got %+v (denied %v, failed %v), want %+v", v, v.Denied(), v.Failed(), test)
			}
			if v.Profile != "default" || !strings.HasPrefix(v.Bundle, "test@1 (sha256:") {
				t.Errorf("got profile %q and bundle %q", v.Profile, v.Bundle)
			}
		})
	}
}

func TestTheZeroVerdictDenies(t *testing.T) {
	if v := (admission.Verdict{}); v.Admitted || v.Denied() {
		t.Errorf("got %+v, want neither an admission nor a denial on facts", v)
	}
	if !admission.FaultDenies(policies.Fault{}) || !admission.UndecidedCounts(policies.Undecided{}) {
		t.Error("the zero fault and the zero undecided must count")
	}
}

func TestAnExceptionAdmitsUntilItExpires(t *testing.T) {
	e := engine(t, "policies: [{policy: pods/x}]\n", "x", denies, "exceptions/e.yaml",
		"apiVersion: policy.portcullis.dev/v1alpha1\nkind: Exception\nname: e\npolicy: pods/x\nselector: {namespaces: [shop]}\nreason: r\nowner: o\nexpires: 2026-03-01T12:00:00Z\n")
	for at, admitted := range map[time.Time]bool{noon.Add(-time.Second): true, noon: false, noon.Add(time.Second): false} {
		v := admission.NewReviewer(e, &gathered{}, func() time.Time { return at }).Review(context.Background(), pod(object))
		if v.Admitted != admitted || len(v.Findings) != 1 || admission.Warns(v.Findings[0]) {
			t.Errorf("at %v: got %+v, want admitted = %v", at, v, admitted)
		}
	}
}

func TestOnlyWhatSomebodyReadsIsGathered(t *testing.T) {
	for name, test := range map[string]struct {
		request func(*admission.Request)
		asked   []policies.Needs
	}{
		"facts that are read":        {func(*admission.Request) {}, []policies.Needs{{Reads: []policies.Read{{Resource: "services", Namespace: "shop"}}}}},
		"nothing for what no policy": {func(r *admission.Request) { r.Resource.Resource = "secrets" }, nil},
		"nothing on the way in":      {func(r *admission.Request) { r.Operation = "DELETE" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			facts := &gathered{}
			r := admission.NewReviewer(engine(t, "policies: [{policy: pods/x}]\n", "x", reads), facts, time.Now)
			request := pod(object)
			test.request(&request)
			r.Review(context.Background(), request)
			r.Mutate(context.Background(), request) // no policy patches, so nothing more is asked
			if fmt.Sprint(facts.asked) != fmt.Sprint(test.asked) {
				t.Errorf("got %+v, want %+v", facts.asked, test.asked)
			}
		})
	}
}

func TestPatchesAreMergedAndConflictsAreFaults(t *testing.T) {
	set := func(key, value string) string {
		return fmt.Sprintf(`patch contains {"path": ["metadata", "labels", %q], "set": %q} if input.object.kind`, key, value)
	}
	const misfit = `patch contains {"path": ["spec", "containers", "name"], "set": 1} if input.object.kind`
	for name, test := range map[string]struct {
		manifest, first, second string
		admitted                bool
		labels                  map[string]string // nil for no patch
		blamed                  []string
	}{
		"two patches":                             {"policies: [{policy: pods/x}, {policy: pods/y}]", set("x", "1"), set("y", "2"), true, map[string]string{"a": "b", "x": "1", "y": "2"}, nil},
		"the same patch twice":                    {"policies: [{policy: pods/x}, {policy: pods/y}]", set("x", "1"), set("x", "1"), true, map[string]string{"a": "b", "x": "1"}, nil},
		"a patch that changes nothing":            {"policies: [{policy: pods/x}]", set("a", "b"), "", true, nil, nil},
		"a conflict":                              {"policies: [{policy: pods/x}, {policy: pods/y}]", set("x", "1"), set("x", "2"), false, nil, []string{"pods/x, pods/y"}},
		"a conflict with one that fails open":     {"policies: [{policy: pods/x, failMode: open}, {policy: pods/y}]", set("x", "1"), set("x", "2"), false, nil, []string{"pods/x, pods/y"}},
		"a conflict of two that fail open":        {"policies: [{policy: pods/x, failMode: open}, {policy: pods/y, failMode: open}]", set("x", "1"), set("x", "2"), true, nil, []string{"pods/x, pods/y"}},
		"two that only warn, which patch nothing": {"policies: [{policy: pods/x, enforcement: warn}, {policy: pods/y, enforcement: warn}]", set("x", "1"), set("x", "2"), true, nil, nil},
		"one that warns does not contradict":      {"policies: [{policy: pods/x, enforcement: warn}, {policy: pods/y, failMode: open}]", set("x", "1"), set("x", "2"), true, map[string]string{"a": "b", "x": "2"}, nil},
		"a path that does not fit":                {"policies: [{policy: pods/x}, {policy: pods/y}]", misfit, set("y", "2"), false, nil, []string{"pods/x"}},
		"a path that does not fit, failing open":  {"policies: [{policy: pods/x, failMode: open}, {policy: pods/y}]", misfit, set("y", "2"), true, map[string]string{"a": "b", "y": "2"}, []string{"pods/x"}},
		"a path that does not fit, only warning":  {"policies: [{policy: pods/x, enforcement: warn}, {policy: pods/y}]", misfit, set("y", "2"), true, map[string]string{"a": "b", "y": "2"}, nil},
		"a fault beside a patch":                  {"policies: [{policy: pods/x}, {policy: pods/y}]", `patch contains {"path": ["a"], "set": 1} if to_number(input.object.kind) > 0`, set("y", "2"), false, nil, []string{"pods/x"}},
		"a fault that fails open beside a patch":  {"policies: [{policy: pods/x, failMode: open}, {policy: pods/y}]", `patch contains {"path": ["a"], "set": 1} if to_number(input.object.kind) > 0`, set("y", "2"), true, map[string]string{"a": "b", "y": "2"}, []string{"pods/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			rules := []string{"x", test.first}
			if test.second != "" {
				rules = append(rules, "y", test.second)
			}
			v := reviewer(engine(t, test.manifest+"\n", rules...)).Mutate(context.Background(), pod(object))
			var blamed []string
			for _, f := range v.Faults {
				blamed = append(blamed, f.Policy)
			}
			if v.Admitted != test.admitted || !slices.Equal(blamed, test.blamed) {
				t.Errorf("got admitted = %v and faults %+v, want %v and %q", v.Admitted, v.Faults, test.admitted, test.blamed)
			}
			var patched struct {
				Metadata struct{ Labels map[string]string }
			}
			if v.Patched != nil {
				if err := json.Unmarshal(v.Patched, &patched); err != nil {
					t.Fatal(err)
				}
			}
			if fmt.Sprint(patched.Metadata.Labels) != fmt.Sprint(test.labels) || (v.Patch == nil) != (test.labels == nil) {
				t.Errorf("got labels %v by %s, want %v", patched.Metadata.Labels, v.Patch, test.labels)
			}
		})
	}
}

func TestAPolicyThatContradictsItselfIsToldSo(t *testing.T) {
	e := engine(t, "policies: [{policy: pods/x}]\n", "x", `patch contains {"path": ["metadata", "labels", "x"], "set": v} if { some v in ["1", "2"]; input.object.kind }`)
	v := reviewer(e).Mutate(context.Background(), pod(object))
	if v.Admitted || len(v.Faults) != 1 || v.Faults[0].Policy != "pods/x" || !strings.Contains(v.Faults[0].Message, "pods/x contradicts itself about metadata.labels.x") {
		t.Errorf("got %+v, want a fault of pods/x that says it contradicts itself", v)
	}
}

func TestAPinnedProfileJudgesEveryRequest(t *testing.T) {
	e := engine(t, "profiles: [{name: soft}, {name: strict, policies: [{policy: pods/x}]}]\ndefaultProfile: soft\n", "x", denies)
	r := reviewer(e)
	if v := r.Review(context.Background(), pod(object)); !v.Admitted || v.Profile != "soft" {
		t.Errorf("got %+v, want it admitted by soft", v)
	}
	r.Pin("strict")
	if v := r.Review(context.Background(), pod(object)); v.Admitted || v.Profile != "strict" {
		t.Errorf("got %+v, want it refused by strict", v)
	}
	r.Pin("nobody")
	if v := r.Review(context.Background(), pod(object)); v.Admitted || len(v.Faults) != 1 {
		t.Errorf("got %+v, want a fault: there is no such profile", v)
	}
}

// A request is judged by one bundle from beginning to end, whatever is activated meanwhile.
func TestActivatingABundleUnderLoadMixesNothing(t *testing.T) {
	bundles := map[string]string{}
	var engines []*policies.Engine
	for _, message := range []string{"one", "two"} {
		e := engine(t, "policies: [{policy: pods/x}]\n", "x", strings.Replace(reads, `"no" if count(input.cluster) > 0`, `"`+message+`" if count(input.cluster) >= 0`, 1))
		engines, bundles[e.Bundle().Revision()] = append(engines, e), message
	}
	r := reviewer(engines[0])
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				v := r.Review(context.Background(), pod(object))
				if v.Admitted || len(v.Findings) != 1 || v.Findings[0].Message != bundles[v.Bundle] {
					t.Errorf("got %+v, want the finding %q of bundle %s", v, bundles[v.Bundle], v.Bundle)
					return
				}
			}
		})
	}
	for n := range 200 {
		r.Activate(engines[n%2])
	}
	group.Wait()
	if r.Lineup().Members[0].Active.Judges[0] != admission.Judge(engines[1]) {
		t.Error("the engine that was activated last is not the active one")
	}
}

func TestPoliciesNamesEachInstanceOnce(t *testing.T) {
	findings := []policies.Finding{{Policy: "pods/b"}, {Policy: "pods/a"}, {Policy: "pods/b"}, {Policy: "pods/a", Instance: "strict"}}
	if got, want := admission.Policies(findings), []string{"pods/a", "pods/b", "strict"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
