package policies

import (
	"strings"
	"testing"
)

// notPrivileged is a policy about pods as the library writes them.
var notPrivileged = regoPolicy("pods/x", "", `
deny contains {"msg": "privileged", "path": c.path} if {
	some c in input.workload.containers
	c.securityContext.privileged
}`)

func bad(metadata, spec string) string {
	return `{"kind":"Pod","metadata":{"name":"shop"` + metadata + `},"spec":{"containers":[{"name":"app","image":"app:1","securityContext":{"privileged":true}}]` + spec + `}}`
}

func deployment(metadata, replicas, image, privileged string) string {
	return `{"kind":"Deployment","metadata":{"name":"shop"` + metadata + `},"spec":{"replicas":` + replicas +
		`,"template":{"metadata":{"labels":{"app":"shop"}},"spec":{"containers":[{"name":"app","image":"` + image + `","securityContext":{"privileged":` + privileged + `}}]}}}}`
}

// Rows 15, 16 and 42: an object from before a policy must remain deletable and scalable, and
// nothing may be smuggled in with such an update.
func TestBypass42AnUpdateIsJudgedIfItChangesWhatAPolicyReads(t *testing.T) {
	const finalizer, deleted = `,"finalizers":["a/b"]`, `,"deletionTimestamp":"2026-01-01T00:00:00Z"`
	for name, test := range map[string]struct {
		resource string // of a pod, or a deployment
		old, now string
		denied   bool
	}{
		"a finalizer removed":                     {"pods", bad(finalizer, ""), bad("", ""), false},
		"a finalizer removed while deleted":       {"pods", bad(deleted+finalizer, ""), bad(deleted, ""), false},
		"a label added":                           {"pods", bad("", ""), bad(`,"labels":{"a":"b"}`, ""), false},
		"an annotation changed":                   {"pods", bad(`,"annotations":{"a":"b"}`, ""), bad(`,"annotations":{"a":"c"}`, ""), false},
		"an owner added":                          {"pods", bad("", ""), bad(`,"ownerReferences":[{"kind":"StatefulSet","name":"a"}]`, ""), false},
		"another image":                           {"pods", bad("", ""), strings.Replace(bad("", ""), "app:1", "app:2", 1), true},
		"another image while deleted":             {"pods", bad(deleted+finalizer, ""), strings.Replace(bad(deleted, ""), "app:1", "app:2", 1), true},
		"another image with a finalizer removed":  {"pods", bad(finalizer, ""), strings.Replace(bad("", ""), "app:1", "app:2", 1), true},
		"another image and an owner":              {"pods", bad("", ""), strings.Replace(bad(`,"ownerReferences":[{"kind":"StatefulSet","name":"a"}]`, ""), "app:1", "app:2", 1), true},
		"a shorter deadline":                      {"pods", bad("", ""), bad("", `,"activeDeadlineSeconds":5`), true},
		"scaled down":                             {"deployments", deployment("", "3", "app:1", "true"), deployment("", "2", "app:1", "true"), false},
		"scaled down with another image":          {"deployments", deployment("", "3", "app:1", "true"), deployment("", "2", "app:2", "true"), true},
		"scaled to nothing with another image":    {"deployments", deployment("", "3", "app:1", "true"), deployment("", "0", "app:2", "true"), true},
		"relabelled":                              {"deployments", deployment("", "3", "app:1", "true"), deployment(`,"labels":{"a":"b"}`, "3", "app:1", "true"), false},
		"made privileged":                         {"deployments", deployment("", "3", "app:1", "false"), deployment("", "3", "app:1", "true"), true},
		"made privileged while deleted":           {"deployments", deployment(deleted, "3", "app:1", "false"), deployment(deleted, "3", "app:1", "true"), true},
		"no longer privileged":                    {"deployments", deployment("", "3", "app:1", "true"), deployment("", "3", "app:1", "false"), false},
		"an old object that is none of the kind":  {"deployments", `{"kind":"Deployment"}`, deployment("", "3", "app:1", "true"), true},
		"an old object that cannot be read":       {"deployments", `{"kind":`, deployment("", "3", "app:1", "true"), true},
		"an old object whose pods lie elsewhere":  {"deployments", `{"kind":"Deployment","spec":{"containers":[]}}`, deployment("", "3", "app:1", "true"), true},
		"nothing changed at all":                  {"pods", bad("", ""), bad("", ""), false},
		"the same object, now with a second copy": {"pods", bad("", ""), bad("", `,"initContainers":[{"name":"i","image":"i","securityContext":{"privileged":true}}]`), true},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", notPrivileged))
			r := podRequest(test.now)
			if test.resource == "deployments" {
				r = objectRequest("apps", "v1", "deployments", "Deployment", test.now)
			}
			result := judge(t, engine, updateRequest(r, test.old), nil)
			if got := len(result.Findings) > 0; got != test.denied || len(result.Faults) > 0 {
				t.Errorf("got denied = %v (%+v), want %v", got, result, test.denied)
			}
		})
	}
}

// Rows 14 and 17: nothing on the object says that it need not be judged.
func TestBypass17NothingOnTheObjectExcusesIt(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", notPrivileged))
	for name, metadata := range map[string]string{
		"a forged owner":                `,"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"a","uid":"b","controller":true}]`,
		"a deletion timestamp":          `,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a/b"]`,
		"an annotation of ours":         `,"annotations":{"policy.portcullis.dev/verified":"true","policy.portcullis.dev/ignore":"true"}`,
		"a label that exempts":          `,"labels":{"admission.gatekeeper.sh/ignore":"yes","policy.portcullis.dev/ignore":"true"}`,
		"a static pod's annotation":     `,"annotations":{"kubernetes.io/config.mirror":"a"}`,
		"a name of the system":          `,"generateName":"kube-proxy-"`,
		"managed fields of the cluster": `,"managedFields":[{"manager":"kubelet"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			wantSpoken(t, judge(t, engine, podRequest(bad(metadata, "")), nil), "pods/x: privileged")
		})
	}
}

func TestPoliciesThatCompareWithTheOldObjectRunOnEveryUpdate(t *testing.T) {
	about := "match: {resources: [{group: '', resources: [configmaps]}]}"
	old := `{"kind":"ConfigMap","metadata":{"name":"a","finalizers":["x/y"]},"data":{"a":"b"}}`
	for name, test := range map[string]struct {
		custom, rules, now string
		found              bool
	}{
		"the old object is read":                        {about, `deny contains "x" if { input.object.data.a == input.oldObject.data.a }`, old, true},
		"only the old object is read":                   {about, `deny contains "x" if input.oldObject.data.a`, old, true},
		"only the request is read":                      {about, `deny contains "x" if input.request.operation == "UPDATE"`, old, true},
		"only the subject is read":                      {about, `deny contains "x" if not input.subject.username == "ada"`, old, true},
		"nothing is read":                               {about, `deny contains "x"`, old, true},
		"the object is read and the same":               {about, `deny contains "x" if input.object.data.a == "b"`, old, false},
		"the object is read and the same but elsewhere": {about, `deny contains "x" if input.object.data.a == "b"`, strings.Replace(old, `["x/y"]`, `[]`, 1), false},
		"the object is read and differs":                {about, `deny contains "x" if input.object.data`, strings.Replace(old, `"b"`, `"c"`, 1), true},
		"a field that was not there":                    {about, `deny contains "x" if input.object.data.c`, strings.Replace(old, `"a":"b"`, `"a":"b","c":"d"`, 1), true},
		"a field that is gone":                          {about, `deny contains "x" if not input.object.data.a`, strings.Replace(old, `"a":"b"`, ``, 1), true},
		"a list that is longer":                         {about, `deny contains "x" if input.object.metadata.finalizers[_]`, strings.Replace(old, `"x/y"`, `"x/y","z/z"`, 1), true},
		"a list in another order":                       {about, `deny contains "x" if input.object.metadata.finalizers[0] == "z/z"`, strings.Replace(old, `"x/y"`, `"z/z","x/y"`, 1), true},
		"a value of another type":                       {about, `deny contains "x" if input.object.data.a`, strings.Replace(old, `"b"`, `{"c":1}`, 1), true},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy(test.custom, test.rules))
			r := updateRequest(objectRequest("", "v1", "configmaps", "ConfigMap", test.now), old)
			result := judge(t, engine, r, nil)
			if got := len(result.Findings) > 0; got != test.found || len(result.Faults) > 0 {
				t.Errorf("got found = %v (%+v), want %v", got, result, test.found)
			}
		})
	}
}

// A policy about pods that reads the raw object is about pods all the same: what runs
// has changed, so the privileged container must not get another image.
func TestAPolicyAboutPodsThatReadsTheRawObjectIsJudgedAnewToo(t *testing.T) {
	engine := mustCompile(t, onePolicy("", `deny contains "privileged" if input.object.spec.containers[_].securityContext.privileged`))
	now := strings.Replace(bad("", ""), "app:1", "app:2", 1)
	wantSpoken(t, judge(t, engine, updateRequest(podRequest(now), bad("", "")), nil), "pods/x: privileged")
	wantSpoken(t, judge(t, engine, updateRequest(podRequest(bad(`,"labels":{"a":"b"}`, "")), bad("", "")), nil))
}

// One policy that an update does not concern must not keep others from it.
func TestOnlyThePoliciesThatAnUpdateConcernsAreSkipped(t *testing.T) {
	about := "match: {resources: [{group: '', resources: [configmaps]}]}"
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/a}, {policy: pods/b}, {policy: pods/c}]\n",
		"a.rego", regoPolicy("pods/a", about, `deny contains "a" if input.object.data.a`),
		"b.rego", regoPolicy("pods/b", about, `deny contains "b" if input.object.data.b`),
		"c.rego", regoPolicy("pods/c", about, `deny contains "c" if to_number(input.object.data.b) > 0`)))
	old, now := `{"data":{"a":"1","b":"x"}}`, `{"data":{"a":"1","b":"y"}}`
	wantSpoken(t, judge(t, engine, updateRequest(objectRequest("", "v1", "configmaps", "ConfigMap", now), old), nil), "pods/b: b", "pods/c fault: evaluation error")
}
