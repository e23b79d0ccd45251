package policies

import (
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// everyKind is a policy about many things that always finds something.
var everyKind = regoPolicy("pods/x", `
match:
  resources:
    - {group: '', resources: [pods, pods/exec, configmaps, namespaces]}
    - {group: rbac.authorization.k8s.io, resources: [clusterroles]}
  operations: [CREATE, UPDATE, DELETE, CONNECT]
`, always)

func labelled(labels string) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"shop","labels":` + labels + `}}`
}

func TestAnInstanceAppliesWhereItsMatchSays(t *testing.T) {
	as := func(username string, groups ...string) func(*Request) {
		return func(r *Request) { r.Subject = Subject{Username: username, Groups: groups} }
	}
	in := func(namespace string) func(*Request) { return func(r *Request) { r.Namespace = namespace } }
	operation := func(o string) func(*Request) {
		return func(r *Request) {
			if r.Operation = o; o == "DELETE" {
				r.Object, r.OldObject = nil, r.Object
			}
		}
	}
	object := func(now, old string) func(*Request) {
		return func(r *Request) {
			r.Object, r.OldObject = nil, nil
			if now != "" {
				r.Object = []byte(now)
			}
			if old != "" {
				r.Operation, r.OldObject = "UPDATE", []byte(old)
			}
		}
	}
	clusterRole := func(r *Request) {
		*r = *objectRequest("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", `{"kind":"ClusterRole","metadata":{"name":"shop"}}`)
		r.Namespace = ""
	}
	namespace := func(name string) func(*Request) {
		return func(r *Request) {
			*r = *objectRequest("", "v1", "namespaces", "Namespace", `{"kind":"Namespace","metadata":{"name":"`+name+`"}}`)
			r.Namespace, r.Name = "", name
		}
	}
	nothing := func(*Request) {}
	for name, test := range map[string]struct {
		match   string
		request func(*Request)
		applies bool
	}{
		"an empty match is everything":                        {"{}", nothing, true},
		"a namespace by name":                                 {"{namespaces: [shop]}", nothing, true},
		"another namespace":                                   {"{namespaces: [shop]}", in("shops"), false},
		"a namespace by glob":                                 {"{namespaces: ['team-*']}", in("team-a"), true},
		"one letter by glob":                                  {"{namespaces: ['team-?']}", in("team-ab"), false},
		"a choice by glob":                                    {"{namespaces: ['{a,shop}']}", nothing, true},
		"a glob is about the whole name":                      {"{namespaces: ['sho']}", nothing, false},
		"names tell cases apart":                              {"{namespaces: [Shop]}", nothing, false},
		"the second of two namespaces":                        {"{namespaces: [a, shop]}", nothing, true},
		"a cluster-scoped object is in no namespace":          {"{namespaces: [shop]}", clusterRole, false},
		"a Namespace is in the namespace it is":               {"{namespaces: [shop]}", namespace("shop"), true},
		"a Namespace is in no other":                          {"{namespaces: [shop]}", namespace("other"), false},
		"an excluded namespace":                               {"{exclude: {namespaces: ['s*']}}", nothing, false},
		"a namespace that is not excluded":                    {"{exclude: {namespaces: ['t*']}}", nothing, true},
		"an excluded Namespace object":                        {"{exclude: {namespaces: [shop]}}", namespace("shop"), false},
		"a cluster-scoped object is excluded by no namespace": {"{exclude: {namespaces: ['*']}}", clusterRole, true},
		"a kind":                            {"{kinds: [ConfigMap]}", nothing, true},
		"a kind with its group":             {"{kinds: [rbac.authorization.k8s.io/ClusterRole]}", clusterRole, true},
		"a kind with another group":         {"{kinds: [apps/ClusterRole]}", clusterRole, false},
		"kinds of a group":                  {"{kinds: ['rbac.authorization.k8s.io/*']}", clusterRole, true},
		"another kind":                      {"{kinds: [Secret]}", nothing, false},
		"an excluded kind":                  {"{exclude: {kinds: [ConfigMap]}}", nothing, false},
		"an excluded group of kinds":        {"{exclude: {kinds: ['rbac.authorization.k8s.io/*']}}", clusterRole, false},
		"a platform":                        {"{platforms: [kubernetes]}", nothing, true},
		"another platform":                  {"{platforms: [nomad]}", nothing, false},
		"an operation":                      {"{operations: [CREATE]}", nothing, true},
		"another operation":                 {"{operations: [UPDATE, DELETE]}", nothing, false},
		"deletion":                          {"{operations: [DELETE]}", operation("DELETE"), true},
		"a user":                            {"{users: [ada]}", as("ada"), true},
		"another user":                      {"{users: [ada]}", as("adam"), false},
		"nobody at the gate":                {"{users: [ada]}", nothing, false},
		"an excluded user":                  {"{exclude: {users: ['system:*']}}", as("system:node:a"), false},
		"a user who is not excluded":        {"{exclude: {users: ['system:*']}}", as("ada"), true},
		"a group":                           {"{groups: [dev]}", as("ada", "ops", "dev"), true},
		"another group":                     {"{groups: [dev]}", as("ada", "ops"), false},
		"an excluded group":                 {"{exclude: {groups: ['ops']}}", as("ada", "dev", "ops"), false},
		"a service account":                 {"{serviceAccounts: [ci/deployer]}", as("system:serviceaccount:ci:deployer"), true},
		"a service account elsewhere":       {"{serviceAccounts: [ci/deployer]}", as("system:serviceaccount:cd:deployer"), false},
		"a user called like one":            {"{serviceAccounts: [ci/deployer]}", as("ci/deployer"), false},
		"service accounts of a namespace":   {"{serviceAccounts: ['ci/*']}", as("system:serviceaccount:ci:any"), true},
		"an excluded service account":       {"{exclude: {serviceAccounts: ['ci/*']}}", as("system:serviceaccount:ci:any"), false},
		"a user is no service account":      {"{exclude: {serviceAccounts: ['*']}}", as("ada"), true},
		"all fields must match":             {"{namespaces: [shop], users: [ada]}", as("bob"), false},
		"exclusion wins":                    {"{namespaces: [shop], exclude: {users: [ada]}}", as("ada"), false},
		"any exclusion is enough":           {"{exclude: {namespaces: [other], kinds: [ConfigMap]}}", nothing, false},
		"a label":                           {"{objectSelector: {matchLabels: {a: b}}}", object(labelled(`{"a":"b"}`), ""), true},
		"another value of a label":          {"{objectSelector: {matchLabels: {a: b}}}", object(labelled(`{"a":"c"}`), ""), false},
		"no label":                          {"{objectSelector: {matchLabels: {a: b}}}", nothing, false},
		"a label taken off":                 {"{objectSelector: {matchLabels: {a: b}}}", object(labelled(`{}`), labelled(`{"a":"b"}`)), true},
		"a label put on":                    {"{objectSelector: {matchLabels: {a: b}}}", object(labelled(`{"a":"b"}`), labelled(`{}`)), true},
		"an exempting label put on":         {"{objectSelector: {matchExpressions: [{key: exempt, operator: DoesNotExist}]}}", object(labelled(`{"exempt":"1"}`), labelled(`{"a":"b"}`)), true},
		"the first label exempts":           {"{objectSelector: {matchExpressions: [{key: exempt, operator: DoesNotExist}]}}", object(labelled(`{"exempt":"1"}`), `{"kind":"ConfigMap","metadata":{"name":"shop"}}`), true},
		"an exempting label from the start": {"{objectSelector: {matchExpressions: [{key: exempt, operator: DoesNotExist}]}}", object(labelled(`{"exempt":"1"}`), ""), false},
		"a label of what is deleted":        {"{objectSelector: {matchLabels: {a: b}}}", func(r *Request) { r.Operation, r.Object, r.OldObject = "DELETE", nil, []byte(labelled(`{"a":"b"}`)) }, true},
		"no label of what is deleted":       {"{objectSelector: {matchLabels: {a: b}}}", func(r *Request) { r.Operation, r.Object, r.OldObject = "DELETE", nil, []byte(labelled(`{}`)) }, false},
		"an empty selector":                 {"{objectSelector: {}}", nothing, true},
		"a label of the namespace":          {"{namespaceSelector: {matchLabels: {team: shop}}}", nothing, true},
		"another label of the namespace":    {"{namespaceSelector: {matchLabels: {team: other}}}", nothing, false},
		"no namespace, so never exempt":     {"{namespaceSelector: {matchLabels: {team: other}}}", clusterRole, true},
		"a new Namespace by its own labels": {"{namespaceSelector: {matchLabels: {team: new}}}", func(r *Request) {
			namespace("new")(r)
			r.Object = []byte(`{"kind":"Namespace","metadata":{"name":"new","labels":{"team":"new"}}}`)
		}, true},
		"a new Namespace without the label": {"{namespaceSelector: {matchLabels: {team: new}}}", namespace("new"), false},
		"exec into a pod has its own object": {"{kinds: [PodExecOptions]}", func(r *Request) {
			*r = *podRequest(`{"kind":"PodExecOptions"}`)
			r.Operation, r.SubResource = "CONNECT", "exec"
			r.Kind = metav1.GroupVersionKind{Version: "v1", Kind: "PodExecOptions"}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x, match: "+test.match+"}]\n", "x.rego", everyKind))
			r := objectRequest("", "v1", "configmaps", "ConfigMap", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"shop"}}`)
			test.request(r)
			facts := &Facts{}
			if needs := engine.Needs(r, PhaseValidate); needs.Namespace == "shop" {
				facts.Namespace = &Namespace{Name: "shop", Labels: map[string]string{"team": "shop"}}
			} else if needs.Namespace != "" {
				facts.NamespaceMissing = "not found"
			}
			result := judge(t, engine, r, facts)
			if len(result.Faults) > 0 || len(result.Undecided) > 0 {
				t.Fatalf("got faults %v and undecided %v, want none", result.Faults, result.Undecided)
			}
			if got := len(result.Findings) == 1 && result.Matched == 1; got != test.applies {
				t.Errorf("got applies = %v (%+v), want %v", got, result, test.applies)
			}
		})
	}
}

func TestAPolicyAppliesToItsResourcesOperationsAndDoors(t *testing.T) {
	pods, any := `match: {workload: pods}`, `match: {workload: any}`
	deployment := objectRequest("apps", "v1", "deployments", "Deployment", `{"kind":"Deployment","spec":{"template":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}`)
	widget := objectRequest("example.com", "v1", "widgets", "Widget", `{"kind":"Widget","spec":{"template":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}`)
	with := func(r *Request, change func(*Request)) *Request {
		copied := *r
		change(&copied)
		return &copied
	}
	at := func(r *Request, door Door) *Request { return with(r, func(r *Request) { r.Door = door }) }
	sub := func(name string) *Request {
		return with(podRequest(plainPod), func(r *Request) { r.Operation, r.SubResource, r.OldObject = "UPDATE", name, []byte(`{}`) })
	}
	for name, test := range map[string]struct {
		custom  string
		request *Request
		applies bool
	}{
		"pods":                                    {pods, podRequest(plainPod), true},
		"pods of another group":                   {pods, objectRequest("metrics.k8s.io", "v1", "pods", "PodMetrics", `{}`), false},
		"pods only":                               {pods, deployment, false},
		"any workload":                            {any, deployment, true},
		"ephemeral containers":                    {any, sub("ephemeralcontainers"), true},
		"resizing":                                {any, sub("resize"), true},
		"a pod's status":                          {any, sub("status"), false},
		"an unknown kind at admission":            {any, widget, false},
		"an unknown kind at the gate":             {any, at(widget, DoorGate), true},
		"an unknown kind in the audit":            {any, at(widget, DoorAudit), true},
		"deletion unless asked for":               {pods, with(podRequest(""), func(r *Request) { r.Operation = "DELETE" }), false},
		"deletion of a pod":                       {`match: {workload: pods, operations: [DELETE]}`, with(podRequest(""), func(r *Request) { r.Operation, r.Object, r.OldObject = "DELETE", nil, []byte(plainPod) }), true},
		"a door":                                  {pods + "\ndoors: [admission]", podRequest(plainPod), true},
		"another door":                            {pods + "\ndoors: [gate, audit]", podRequest(plainPod), false},
		"a resource by group":                     {`match: {resources: [{group: apps, resources: [deployments]}]}`, deployment, true},
		"a resource of another group":             {`match: {resources: [{group: extensions, resources: [deployments]}]}`, deployment, false},
		"a subresource is not its resource":       {`match: {resources: [{group: '', resources: [pods]}]}`, sub("status"), false},
		"a subresource":                           {`match: {resources: [{group: '', resources: [pods/status]}]}`, sub("status"), true},
		"all versions":                            {`match: {resources: [{group: apps, resources: [deployments]}]}`, with(deployment, func(r *Request) { r.Resource.Version, r.Kind.Version = "v1beta1", "v1beta1" }), true},
		"a workload policy whatever else is read": {any, with(deployment, func(r *Request) { r.Operation = "UPDATE"; r.OldObject = []byte(`{}`) }), true},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy(test.custom, always))
			result := judge(t, engine, test.request, nil)
			if got := len(result.Findings) > 0; got != test.applies || len(result.Faults) > 0 {
				t.Errorf("got applies = %v (%+v), want %v", got, result, test.applies)
			}
		})
	}
}

// A policy about one unknown kind must not keep those about workloads from it.
func TestAPolicyAboutAnUnknownKindLeavesItToTheOthersToo(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}, {policy: widgets/y}]\n",
		"x.rego", regoPolicy("pods/x", "", `deny contains "workload" if input.workload.containers[0]`),
		"y.rego", regoPolicy("widgets/y", "match: {resources: [{group: example.com, resources: [widgets]}]}", `deny contains "widget"`)))
	widget := objectRequest("example.com", "v1", "widgets", "Widget", `{"kind":"Widget","spec":{"template":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}`)
	widget.Door = DoorGate
	wantSpoken(t, judge(t, engine, widget, nil), "pods/x: workload", "widgets/y: widget")
}

func TestLabelsThatCannotBeReadAreAFault(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x, match: {objectSelector: {matchLabels: {a: b}}}}]\n", "x.rego", everyKind))
	for name, object := range map[string]string{
		"no JSON":          `{`,
		"a number":         labelled(`{"a":1}`),
		"a list":           labelled(`["a"]`),
		"a label twice":    labelled(`{"a":"c","a":"b"}`),
		"metadata as text": `{"metadata":"a"}`,
	} {
		t.Run(name, func(t *testing.T) {
			wantSpoken(t, judge(t, engine, objectRequest("", "v1", "configmaps", "ConfigMap", object), nil), "pods/x fault: unreadable input")
		})
	}
}

// Interests, Matches and Evaluate must agree about what is judged at all.
func TestInterestsAreWhatPoliciesMatch(t *testing.T) {
	engine := mustCompile(t, bundleFiles(`
policies: [{policy: pods/x, failMode: open}, {policy: pods/p, enforcement: warn}, {policy: pods/g}, {policy: pods/off, enforcement: off}]
`,
		"x.rego", regoPolicy("pods/x", "match: {resources: [{group: apps, resources: [deployments]}], operations: [UPDATE, CREATE]}", always),
		"p.rego", regoPolicy("pods/p", "match: {resources: [{group: '', resources: [pods, pods/exec]}], operations: [CREATE]}", `patch contains {"path": ["a"], "set": 1}`),
		"g.rego", regoPolicy("pods/g", "doors: [gate]\nmatch: {resources: [{group: '', resources: [secrets]}]}", always),
		"off.rego", regoPolicy("pods/off", "match: {resources: [{group: '', resources: [services]}]}", always)))
	want := []Interest{
		{Resource: "pods", Operation: "CREATE", Mutates: true},
		{Resource: "pods/exec", Operation: "CREATE", Mutates: true},
		{Group: "apps", Resource: "deployments", Operation: "CREATE", Validates: true},
		{Group: "apps", Resource: "deployments", Operation: "UPDATE", Validates: true},
	}
	got := engine.Interests("")
	if len(got) != len(want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for i, interest := range want {
		if !reflect.DeepEqual(got[i], interest) {
			t.Errorf("got %+v, want %+v", got[i], interest)
		}
		resource, sub, _ := strings.Cut(interest.Resource, "/")
		r := &Request{Operation: interest.Operation, SubResource: sub, Resource: metav1.GroupVersionResource{Group: interest.Group, Resource: resource}}
		if !engine.Matches(r) {
			t.Errorf("%+v is an interest, but does not match", interest)
		}
	}
	for _, r := range []*Request{
		{Operation: "CREATE", Resource: metav1.GroupVersionResource{Resource: "services"}},
		{Operation: "DELETE", Resource: metav1.GroupVersionResource{Group: "apps", Resource: "deployments"}},
		{Operation: "CREATE", Resource: metav1.GroupVersionResource{Resource: "pods"}, SubResource: "status"},
	} {
		if engine.Matches(r) {
			t.Errorf("%+v matches, but no policy is about it", r)
		}
	}
}
