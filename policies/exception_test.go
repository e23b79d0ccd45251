package policies

import (
	"fmt"
	"testing"
	"time"
)

// exceptionFile is an exception for pods/x in the namespace shop that ends tomorrow, with a selector
// and other lines in place of these.
func exceptionFile(name, selector, expires string) string {
	return fmt.Sprintf("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Exception\nname: %s\npolicy: pods/x\nselector: %s\nreason: It is being replaced.\nowner: team-shop\nexpires: %s\n", name, selector, expires)
}

// perContainer finds something about each container, about the pod and about the Deployment's name.
var perContainer = regoPolicy("pods/x", "match: {resources: [{group: '', resources: [pods]}, {group: rbac.authorization.k8s.io, resources: [clusterroles]}]}", `
deny contains {"msg": "pod", "path": "spec.hostNetwork"}
deny contains {"msg": concat(" ", ["container", c.name]), "path": c.path} if some c in input.workload.containers
deny contains {"msg": concat(" ", ["image", c.name]), "path": concat("", [c.path, ".image"])} if some c in input.workload.containers
`)

func TestAnExceptionWaivesOnlyWhatItCovers(t *testing.T) {
	const pod = `{"kind":"Pod","metadata":{"name":"shop"},"spec":{"containers":[{"name":"app","image":"a"},{"name":"log","image":"b"}]}}`
	all := []string{"pods/x: container app", "pods/x: image app", "pods/x: container log", "pods/x: image log", "pods/x: pod"}
	clusterRole := func(r *Request) {
		*r = *objectRequest("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", `{}`)
		r.Namespace = ""
	}
	for name, test := range map[string]struct {
		selector string
		request  func(*Request)
		left     []string
	}{
		"a namespace":                        {"{namespaces: [shop]}", nil, nil},
		"a namespace by glob":                {"{namespaces: ['s*']}", nil, nil},
		"another namespace":                  {"{namespaces: [shops]}", nil, all},
		"cluster-scoped things only":         {"{clusterScoped: true}", nil, all},
		"a kind":                             {"{namespaces: [shop], kinds: [Pod]}", nil, nil},
		"another kind":                       {"{namespaces: [shop], kinds: [ClusterRole]}", nil, all},
		"a kind with its group":              {"{namespaces: [shop], kinds: [/Pod]}", nil, nil},
		"a kind of another group":            {"{namespaces: [shop], kinds: [example.com/Pod]}", nil, all},
		"a name":                             {"{namespaces: [shop], names: [sh*]}", nil, nil},
		"another name":                       {"{namespaces: [shop], names: [shop-*]}", nil, all},
		"a name that is generated later":     {"{namespaces: [shop], names: ['*']}", func(r *Request) { r.Name = "" }, all},
		"a generated name, without names":    {"{namespaces: [shop]}", func(r *Request) { r.Name = "" }, nil},
		"one container":                      {"{namespaces: [shop], containers: [app]}", nil, []string{"pods/x: container log", "pods/x: image log", "pods/x: pod"}},
		"all containers, not the pod":        {"{namespaces: [shop], containers: ['*']}", nil, []string{"pods/x: pod"}},
		"a container of another name":        {"{namespaces: [shop], containers: [ap]}", nil, all},
		"a namespace, for a cluster's thing": {"{namespaces: ['*']}", clusterRole, []string{"pods/x: pod"}},
		"a cluster-scoped thing":             {"{clusterScoped: true}", clusterRole, nil},
		"a cluster-scoped thing by name":     {"{clusterScoped: true, names: [other]}", clusterRole, []string{"pods/x: pod"}},
		"containers of what has none":        {"{clusterScoped: true, containers: ['*']}", clusterRole, []string{"pods/x: pod"}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", perContainer, "exceptions/e.yaml", exceptionFile("e", test.selector, "2026-03-02")))
			r := podRequest(pod)
			if test.request != nil {
				test.request(r)
			}
			wantSpoken(t, judge(t, engine, r, nil), test.left...)
		})
	}
}

// Row 35, kyverno#17473: an expired exception was honoured.
func TestBypass35AnExceptionEndsWhenItSays(t *testing.T) {
	for name, test := range map[string]struct {
		expires string
		at      time.Time
		waives  bool
	}{
		"a second before":            {"2026-03-01T12:00:30Z", noon.Add(29 * time.Second), true},
		"the very moment":            {"2026-03-01T12:00:30Z", noon.Add(30 * time.Second), false},
		"a second later":             {"2026-03-01T12:00:30Z", noon.Add(31 * time.Second), false},
		"a year later":               {"2026-03-01T12:00:30Z", noon.AddDate(1, 0, 0), false},
		"the last second of a day":   {"2026-03-02", time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC), true},
		"the first moment of a date": {"2026-03-02", time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), false},
		"before, in another zone":    {"2026-03-01T14:00:30+02:00", noon.Add(29 * time.Second), true},
		"after, in another zone":     {"2026-03-01T14:00:30+02:00", noon.Add(31 * time.Second), false},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", regoPolicy("pods/x", "", always), "exceptions/e.yaml", exceptionFile("e", "{namespaces: [shop]}", test.expires)))
			for range 2 { // the second time from memory
				result := judgeAt(t, engine, podRequest(plainPod), nil, test.at)
				if len(result.Findings) != 1 {
					t.Fatalf("got %+v, want one finding", result)
				}
				if got := result.Findings[0].ExceptedBy == "e"; got != test.waives {
					t.Errorf("got waived = %v, want %v", got, test.waives)
				}
			}
		})
	}
}

// Row 34, GHSA-gg4x-fgg2-h9w9: two exceptions that each cover a part must not cover the whole together.
func TestBypass34PartialExceptionsDoNotAddUp(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", perContainer,
		"exceptions/name.yaml", exceptionFile("by-name", "{namespaces: [other], names: [shop]}", "2026-03-02"),
		"exceptions/space.yaml", exceptionFile("by-namespace", "{namespaces: [shop], names: [other]}", "2026-03-02"),
		"exceptions/kind.yaml", exceptionFile("by-container", "{namespaces: [shop], containers: [app]}", "2026-03-02")))
	result := judge(t, engine, podRequest(plainPod), nil)
	wantSpoken(t, result, "pods/x: pod")
	for _, f := range result.Findings {
		if f.Message != "pod" && f.ExceptedBy != "by-container" {
			t.Errorf("finding %q is waived by %q, want by-container", f.Message, f.ExceptedBy)
		}
	}
}

// Row 33, CVE-2024-48921: an exception that a tenant made was accepted.
func TestBypass33NothingInTheClusterIsAnException(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", regoPolicy("pods/x",
		"match: {resources: [{group: '', resources: [pods]}]}\nreads: [{group: policy.portcullis.dev, resource: exceptions, scope: namespace}]", `deny contains "always" if count(input.cluster) >= 0`)))
	pod := `{"kind":"Pod","metadata":{"name":"shop","annotations":{"policy.portcullis.dev/exception":"e","policy.portcullis.dev/exceptedBy":"e"}},"spec":{"containers":[]}}`
	facts := &Facts{Cluster: []Object{{Group: "policy.portcullis.dev", Kind: "Exception", Resource: "exceptions", Namespace: "shop", Name: "e", Raw: []byte(`{"policy":"pods/x"}`)}}}
	wantSpoken(t, judge(t, engine, podRequest(pod), facts), "pods/x: always")
}

func TestFaultsAreNeverWaived(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n",
		"x.rego", regoPolicy("pods/x", "", `deny contains "x" if to_number(input.object.kind) > 0`),
		"exceptions/e.yaml", exceptionFile("e", "{namespaces: [shop]}", "2026-03-02")))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), "pods/x fault: evaluation error")
}

func TestAnExceptionIsForAllInstancesOfItsPolicyAndNoOther(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}, {policy: pods/x, name: second}, {policy: pods/y}]\n",
		"x.rego", regoPolicy("pods/x", "", always), "y.rego", regoPolicy("pods/y", "", always),
		"exceptions/e.yaml", exceptionFile("e", "{namespaces: [shop]}", "2026-03-02")))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), "pods/y: always")
}

func TestAFindingSaysThatItsExceptionHasExpired(t *testing.T) {
	file := func(name, selector, expires string) []string {
		return []string{"exceptions/" + name + ".yaml", exceptionFile(name, selector, expires)}
	}
	const here, elsewhere = "{namespaces: [shop]}", "{namespaces: [other]}"
	for name, test := range map[string]struct {
		exceptions []string
		want       string // what is left to say
	}{
		"one that has expired":              {file("e", here, "2026-02-28"), "always (exception e expired on 2026-02-28)"},
		"one that expired at a time":        {file("e", here, "2026-03-01T02:00:00+03:00"), "always (exception e expired on 2026-02-28)"},
		"the one that expired last":         {append(file("a", here, "2026-02-27"), append(file("b", here, "2026-02-28"), file("c", here, "2026-02-26")...)...), "always (exception b expired on 2026-02-28)"},
		"one that is for another namespace": {file("e", elsewhere, "2026-02-28"), "always"},
		"one that has been prolonged since": {append(file("a", here, "2026-02-27"), file("b", here, "2026-03-02")...), ""},
		"none":                              {nil, "always"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", append([]string{"x.rego", regoPolicy("pods/x", "", always)}, test.exceptions...)...))
			for range 2 { // the second time from memory
				want := []string{}
				if test.want != "" {
					want = append(want, "pods/x: "+test.want)
				}
				wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), want...)
			}
		})
	}
}
