package gatekeeper

import (
	"context"
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
)

func TestPodSecurityTemplatesObjectToTheirPods(t *testing.T) {
	files := originals("psp-all-violations")
	for _, one := range []string{"psp-templates", "psp-constraints"} {
		if _, err := fs.Stat(files, one); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Load(merge(t, originals("psp-all-violations/psp-templates"), originals("psp-all-violations/psp-constraints")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"host-filesystem":       "gatekeeper/k8spsphostfilesystem psp-host-filesystem deny: HostPath volume",
		"host-namespaces":       "gatekeeper/k8spsphostnamespace psp-host-namespace deny: Sharing the host namespace is not allowed",
		"host-network":          "gatekeeper/k8spsphostnetworkingports psp-host-network-ports deny: The specified hostNetwork and hostPort are not allowed",
		"privileged-containers": "gatekeeper/k8spspprivilegedcontainer psp-privileged-container deny: Privileged container is not allowed",
		"volumes":               "gatekeeper/k8spspvolumetypes psp-volume-types deny: One of the volume types {\"emptyDir\", \"hostPath\"} is not allowed",
	} {
		object := objectsIn(t, files, "psp-pods/"+name+"-example.yaml")[0]
		if got := said(evaluate(e, requestFor(t, object), &policies.Facts{})); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if got := said(evaluate(e, requestFor(t, pod), &policies.Facts{})); got != "" {
		t.Errorf("got %s, want nothing to say of a plain pod", got)
	}
}

func TestADemoRunsAsItIs(t *testing.T) {
	_, err := Load(originals("agilebank"), Options{})
	if err == nil || !strings.Contains(err.Error(), "put objects to test with into a folder samples") {
		t.Fatalf("got %v, want the objects beside the policies refused", err)
	}
	e, err := Load(merge(t, originals("agilebank/templates"), originals("agilebank/constraints"), folder(objectsIn(t, originals("agilebank"), "sync.yaml")...)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	service := func(name string) policies.Object {
		raw, _ := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": name, "namespace": "gatekeeper-system"},
			"spec": map[string]any{"selector": map[string]any{"control-plane": "controller-manager"}},
		})
		return policies.Object{Version: "v1", Kind: "Service", Resource: "services", Namespace: "gatekeeper-system", Name: name, Raw: raw}
	}
	facts := &policies.Facts{Cluster: []policies.Object{service("other")}}
	for name, want := range map[string]string{
		"bad_resources/namespace.yaml":           "All namespaces must have an `owner` label",
		"bad_resources/opa_limits_too_high.yaml": "container <opa> memory limit <4000Mi> is higher than the maximum allowed of <1Gi>",
		"bad_resources/opa_no_limits.yaml":       "container <opa> has no resource limits",
		"bad_resources/opa_wrong_repo.yaml":      "container <opa> has an invalid image repo",
	} {
		if got := said(evaluate(e, requestFor(t, objectsIn(t, originals("agilebank"), name)[0]), facts)); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	duplicate := "apiVersion: v1\nkind: Service\nmetadata: {name: mine, namespace: gatekeeper-system}\nspec: {selector: {control-plane: controller-manager}}\n"
	if got := said(evaluate(e, requestFor(t, duplicate), facts)); !strings.Contains(got, "same selector as service <other> in namespace <gatekeeper-system>") {
		t.Errorf("got %s, want the other service found in the inventory", got)
	}
	own := strings.Replace(duplicate, "mine", "other", 1)
	if got := said(evaluate(e, requestFor(t, own), facts)); got != "" {
		t.Errorf("got %s, want a service not to be its own duplicate", got)
	}
	for _, name := range []string{"good_resources/namespace.yaml", "good_resources/opa.yaml"} {
		if got := said(evaluate(e, requestFor(t, objectsIn(t, originals("agilebank"), name)[0]), facts)); got != "" {
			t.Errorf("%s: got %s, want nothing", name, got)
		}
	}
}

// reviewRego says all it sees of the review.
const reviewRego = "package see\nviolation[{\"msg\": msg}] { msg := json.marshal(input.review) }"

func TestTemplatesSeeTheReviewAsGatekeeperGivesIt(t *testing.T) {
	e := load(t, templateOf("See", reviewRego), constraintOf("See", "all", "{}"))
	r := requestFor(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n")
	r.Options = []byte(`{"kind":"CreateOptions"}`)
	facts := &policies.Facts{Namespace: &policies.Namespace{Name: "shop", Labels: map[string]string{"team": "a"}}}
	result := evaluate(e, r, facts)
	if len(result.Findings) != 1 {
		t.Fatalf("got %s, want one finding", said(result))
	}
	const want = `{"dryRun":false,"kind":{"group":"","kind":"ConfigMap","version":"v1"},"name":"c","namespace":"shop",` +
		`"namespaceObject":{"apiVersion":"v1","kind":"Namespace","metadata":{"labels":{"team":"a"},"name":"shop"}},` +
		`"object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"shop"}},"oldObject":null,"operation":"CREATE",` +
		`"options":{"kind":"CreateOptions"},"requestKind":{"group":"","kind":"ConfigMap","version":"v1"},` +
		`"requestResource":{"group":"","resource":"configmaps","version":"v1"},"resource":{"group":"","resource":"configmaps","version":"v1"},` +
		`"uid":"1","userInfo":{"groups":["dev"],"username":"alice"}}`
	if got := result.Findings[0].Message; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWhatNoTemplateReadsIsNotDecoded(t *testing.T) {
	const old = "package a\nviolation[{\"msg\": msg}] { msg := input.review.oldObject.metadata.name }"
	const name = "package b\nviolation[{\"msg\": \"renamed\"}] { input.review.name == \"web\" }"
	e := load(t, templateOf("Named", name), constraintOf("Named", "c", "{}"))
	r := requestFor(t, pod)
	r.Operation, r.OldObject = "UPDATE", []byte(`{"metadata":{"name":"before"}, "spec": {"twice": 1, "twice": 2}}`)
	if got, want := said(evaluate(e, r, noFacts())), "gatekeeper/named c deny: renamed\n"; got != want {
		t.Errorf("got %q, want %q: nobody reads the old object, which has a field twice", got, want)
	}
	e = load(t, templateOf("Named", name), constraintOf("Named", "c", "{}"), templateOf("Old", old), constraintOf("Old", "c", "{}"))
	if got := said(evaluate(e, r, noFacts())); !strings.Contains(got, "fault gatekeeper/old deny unreadable input") {
		t.Errorf("got %q, want the old object to be unreadable", got)
	}
	r.OldObject = []byte(`{"metadata":{"name":"before"}}`)
	if got, want := said(evaluate(e, r, noFacts())), "gatekeeper/named c deny: renamed\ngatekeeper/old c deny: before\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestADeletionIsJudgedWhereATemplateKnowsOfIt(t *testing.T) {
	const rego = "package keep\nviolation[{\"msg\": msg}] { input.review.operation == \"DELETE\"; msg := input.review.object.metadata.name }"
	e := load(t, templateOf("Keep", rego), constraintOf("Keep", "all", "{}"), templateOf("Always", alwaysRego), constraintOf("Always", "all", "{}"))
	r := requestFor(t, pod)
	r.Operation, r.OldObject, r.Object = "DELETE", r.Object, nil
	if got, want := said(evaluate(e, r, &policies.Facts{})), "gatekeeper/keep all deny: web\n"; got != want {
		t.Errorf("got %q, want %q: the old object as the object, and only the template that knows of deletions", got, want)
	}
}

func TestEnforcementFollowsTheDoor(t *testing.T) {
	scoped := func(action, point string) string {
		return "{enforcementAction: scoped, scopedEnforcementActions: [{action: " + action + ", enforcementPoints: [{name: " + point + "}]}]}"
	}
	for name, test := range map[string]struct {
		spec string
		door policies.Door
		want string
	}{
		"without an action it denies":             {"{}", policies.DoorAdmission, "deny"},
		"warn":                                    {"{enforcementAction: warn}", policies.DoorGate, "warn"},
		"dryrun is recorded":                      {"{enforcementAction: dryrun}", policies.DoorAudit, "audit"},
		"a point of the webhook at the webhook":   {scoped("deny", "validation.gatekeeper.sh"), policies.DoorAdmission, "deny"},
		"a point of the webhook in an audit":      {scoped("deny", "validation.gatekeeper.sh"), policies.DoorAudit, ""},
		"gator's point at the gate":               {scoped("warn", "gator.gatekeeper.sh"), policies.DoorGate, "warn"},
		"all points":                              {scoped("dryrun", `"*"`), policies.DoorAudit, "audit"},
		"the API server's own is no door of ours": {scoped("deny", "vap.k8s.io"), policies.DoorAdmission, ""},
		"the strictest of two": {"{enforcementAction: scoped, scopedEnforcementActions: [{action: warn, enforcementPoints: [{name: '*'}]}, " +
			"{action: deny, enforcementPoints: [{name: audit.gatekeeper.sh}]}]}", policies.DoorAudit, "deny"},
	} {
		t.Run(name, func(t *testing.T) {
			e := load(t, templateOf("Always", alwaysRego), constraintOf("Always", "all", test.spec))
			r := requestFor(t, pod)
			r.Door = test.door
			want := ""
			if test.want != "" {
				want = "gatekeeper/always all " + test.want + ": no\n"
			}
			if got := said(evaluate(e, r, &policies.Facts{})); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := e.Matches(r); got != (test.want != "") {
				t.Errorf("got Matches %v, want %v", got, test.want != "")
			}
		})
	}
}

func TestConfigExcludesNamespacesByProcess(t *testing.T) {
	const config = "apiVersion: config.gatekeeper.sh/v1alpha1\nkind: Config\nmetadata: {name: config, namespace: gatekeeper-system}\n" +
		"spec: {match: [{processes: [webhook], excludedNamespaces: ['kube-*']}, {processes: ['*'], excludedNamespaces: [shop]}]}\n"
	e := load(t, config, templateOf("Always", alwaysRego), constraintOf("Always", "all", "{}"))
	for name, test := range map[string]struct {
		namespace string
		door      policies.Door
		judged    bool
	}{
		"another namespace":                     {"web", policies.DoorAdmission, true},
		"a namespace that fits a pattern":       {"kube-system", policies.DoorAdmission, false},
		"the gate foretells the webhook":        {"kube-system", policies.DoorGate, false},
		"the audit is another process":          {"kube-system", policies.DoorAudit, true},
		"a namespace excluded from all of them": {"shop", policies.DoorAudit, false},
		"an object outside namespaces":          {"", policies.DoorAdmission, true},
	} {
		r := requestFor(t, pod)
		r.Door, r.Namespace = test.door, test.namespace
		if got := evaluate(e, r, &policies.Facts{}).Matched > 0; got != test.judged {
			t.Errorf("%s: got judged %v, want %v", name, got, test.judged)
		}
	}
}

// lookupRego objects to a second ConfigMap of a name.
const lookupRego = "package once\nviolation[{\"msg\": ns}] { data.inventory.namespace[ns][\"v1\"][\"ConfigMap\"][input.review.object.metadata.name] }"

const syncConfigMaps = "apiVersion: syncset.gatekeeper.sh/v1alpha1\nkind: SyncSet\nmetadata: {name: s}\nspec: {gvks: [{group: '', version: v1, kind: ConfigMap}]}\n"

func configMap(namespace, name string) policies.Object {
	raw, _ := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": namespace}})
	return policies.Object{Version: "v1", Kind: "ConfigMap", Resource: "configmaps", Namespace: namespace, Name: name, Raw: raw}
}

func TestTheInventoryIsWholeOrAFault(t *testing.T) {
	e := load(t, syncConfigMaps, templateOf("Once", lookupRego), constraintOf("Once", "all", "{match: {kinds: [{apiGroups: [''], kinds: [ConfigMap]}]}}"))
	r := requestFor(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n")
	read := policies.Read{Resource: "configmaps"}
	if needs := e.Needs(r, policies.PhaseValidate); len(needs.Reads) != 1 || needs.Reads[0] != read || needs.Namespace != "" {
		t.Errorf("got needs %+v, want all config maps and no namespace", needs)
	}
	facts := &policies.Facts{Cluster: []policies.Object{configMap("web", "c"), configMap("web", "d")}}
	if got, want := said(evaluate(e, r, facts)), "gatekeeper/once all deny: web\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := said(evaluate(e, r, &policies.Facts{})); got != "" {
		t.Errorf("got %q, want nothing: the inventory is known to be empty", got)
	}
	if got := e.Reads(); len(got) != 1 || got[0] != read {
		t.Errorf("got reads %+v, want %+v", got, read)
	}
	facts.Cluster[0] = configMap("elsewhere", "c") // the inventory of the last request is not this one's
	if got, want := said(evaluate(e, r, facts)), "gatekeeper/once all deny: elsewhere\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	facts.Partial = map[policies.Read]string{read: "forbidden"}
	if got, want := said(evaluate(e, r, facts)), "fault gatekeeper/once deny facts not available: constraint all: cannot know all configmaps of the cluster: forbidden\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.Door = policies.DoorGate
	if got, want := said(evaluate(e, r, facts)), "undecided gatekeeper/once deny: cannot know all configmaps of the cluster: forbidden\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestATenantSeesItsNamespaceOnly(t *testing.T) {
	e, err := Load(folder(syncConfigMaps, templateOf("Once", lookupRego), constraintOf("Once", "all", "{}")), Options{Tenant: true})
	if err != nil {
		t.Fatal(err)
	}
	r := requestFor(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n")
	if needs := e.Needs(r, policies.PhaseValidate); len(needs.Reads) != 1 || needs.Reads[0].Namespace != "shop" {
		t.Errorf("got needs %+v, want a read of the namespace of the request", needs)
	}
	facts := &policies.Facts{Cluster: []policies.Object{configMap("secrets-of-others", "c")}}
	if got := said(evaluate(e, r, facts)); got != "" {
		t.Errorf("got %q, want objects of other namespaces kept out", got)
	}
	if node := requestFor(t, "apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n"); e.Matches(node) {
		t.Error("a tenant's policies are asked about a node")
	}
	const outside = "package a\nviolation[{\"msg\": \"x\"}] { data.inventory.cluster.v1.ConfigMap[_] }"
	if _, err := Load(folder(syncConfigMaps, templateOf("Out", outside)), Options{Tenant: true}); err == nil || !strings.Contains(err.Error(), "a tenant's policies see those of their namespaces only") {
		t.Errorf("got %v, want a look outside namespaces refused", err)
	}
}

func TestLabelsOfTheNamespaceThatAreNotKnownAreAFault(t *testing.T) {
	e := load(t, templateOf("Always", alwaysRego), constraintOf("Always", "all", "{match: {namespaceSelector: {matchLabels: {team: a}}}}"))
	r := requestFor(t, pod)
	if needs := e.Needs(r, policies.PhaseValidate); needs.Namespace != "shop" {
		t.Errorf("got needs %+v, want the namespace", needs)
	}
	known := func(labels map[string]string) *policies.Facts {
		return &policies.Facts{Namespace: &policies.Namespace{Name: "shop", Labels: labels}}
	}
	for name, test := range map[string]struct {
		facts *policies.Facts
		want  string
	}{
		"they match":   {known(map[string]string{"team": "a"}), "gatekeeper/always all deny: no\n"},
		"they do not":  {known(nil), ""},
		"nobody knows": {&policies.Facts{NamespaceMissing: "not found"}, "fault gatekeeper/always deny facts not available: constraint all: cannot know the labels of namespace shop: not found\n"},
	} {
		if got := said(evaluate(e, r, test.facts)); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	namespace := requestFor(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: mine, labels: {team: a}}\n")
	if got := said(evaluate(e, namespace, &policies.Facts{})); got != "gatekeeper/always all deny: no\n" {
		t.Errorf("got %q, want a namespace judged by its own labels", got)
	}
}

func TestWhatCannotBeJudgedIsAFault(t *testing.T) {
	slow := "package slow\nviolation[{\"msg\": \"x\"}] { s := input.parameters.s; s[_] + s[_] + s[_] + s[_] + s[_] + s[_] + s[_] == -1 }"
	var numbers []string
	for range 40 {
		numbers = append(numbers, "1")
	}
	spec := "{parameters: {s: [" + strings.Join(numbers, ",") + "]}}"
	// Numbers that differ, so that no index helps.
	e := load(t, templateOf("Slow", slow), constraintOf("Slow", "slow", spec), templateOf("Always", alwaysRego), constraintOf("Always", "all", "{}"))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	got := said(e.Evaluate(ctx, requestFor(t, pod), &policies.Facts{}, noon, policies.PhaseValidate))
	if !strings.Contains(got, "fault gatekeeper/slow deny deadline exceeded") || !strings.Contains(got, "gatekeeper/always all deny: no") {
		t.Errorf("got %s, want the slow one to cost its own verdict only", got)
	}

	e = load(t, templateOf("NoMessage", "package a\nviolation[{\"details\": {}}] { true }"), constraintOf("NoMessage", "a", "{}"))
	if got := said(evaluate(e, requestFor(t, pod), &policies.Facts{})); !strings.Contains(got, "a violation has no msg") {
		t.Errorf("got %q, want a violation without msg said, which Gatekeeper drops", got)
	}
	r := requestFor(t, pod)
	r.Object = nil
	if got := said(evaluate(e, r, &policies.Facts{})); !strings.Contains(got, "the request has no object") {
		t.Errorf("got %q, want a request without an object to be a fault", got)
	}
	r.Object = []byte(`{"metadata":{"name":"a","name":"b"}}`)
	if got := said(evaluate(e, r, &policies.Facts{})); got != "" && !strings.Contains(got, "fault") {
		t.Errorf("got %q, want an object with a name twice to be a fault", got)
	}
}

func TestWhatAJournalDidNotKeepIsNotGuessed(t *testing.T) {
	const reads = "package a\nviolation[{\"msg\": \"x\"}] { input.review.object.data.password }"
	const ignores = "package b\nviolation[{\"msg\": \"x\"}] { input.review.object.metadata.name == \"s\" }"
	const whole = "package c\nf(r) { r.object.data }\nviolation[{\"msg\": \"x\"}] { f(input.review) }"
	e := load(t, templateOf("Reads", reads), constraintOf("Reads", "c", "{}"), templateOf("Ignores", ignores), constraintOf("Ignores", "c", "{}"),
		templateOf("Whole", whole), constraintOf("Whole", "c", "{}"))
	r := requestFor(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\ndata: {password: 'eA=='}\n")
	r.Redacted = []string{"object.data"}
	want := "gatekeeper/ignores c deny: x\n" +
		"undecided gatekeeper/reads deny: not replayable: it can read object.data, which the journal does not keep\n" +
		"undecided gatekeeper/whole deny: not replayable: it can read object.data, which the journal does not keep\n"
	if got := said(evaluate(e, r, &policies.Facts{})); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFindingsSayWhatThePolicyKnows(t *testing.T) {
	template := strings.Replace(templateOf("Say", "package a\nviolation[{\"msg\": \"bad\", \"details\": {\"a\": 1}}] { true }"), "{name: say}",
		"{name: say, annotations: {metadata.gatekeeper.sh/title: Says, description: Mend it., policy.portcullis.dev/severity: low}}", 1)
	constraint := strings.Replace(constraintOf("Say", "c", "{}"), "{name: c}", "{name: c, annotations: {policy.portcullis.dev/severity: high}}", 1)
	result := evaluate(load(t, template, constraint), requestFor(t, pod), &policies.Facts{})
	got, _ := json.Marshal(result.Findings)
	const want = `[{"policy":"gatekeeper/say","instance":"c","title":"Says","severity":"high","effect":"deny","enforcement":"deny","message":"bad","remediation":"Mend it.","details":{"a":1}}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTooManyViolationsAreCounted(t *testing.T) {
	e := load(t, templateOf("Many", "package a\nviolation[{\"msg\": msg}] { x := input.parameters.items[_]; msg := sprintf(\"%v\", [x]) }"),
		constraintOf("Many", "c", "{parameters: {items: ["+numbered(150)+"]}}"))
	result := evaluate(e, requestFor(t, pod), &policies.Facts{})
	if len(result.Findings) != maxFindings+1 {
		t.Fatalf("got %d findings, want %d", len(result.Findings), maxFindings+1)
	}
	if got := said(result); !strings.Contains(got, "and 50 more violations") {
		t.Errorf("got %s, want the rest counted", got)
	}
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(time.Duration(i).String())
	}
	return b.String()
}

func TestInterestsAreThoseOfTheKinds(t *testing.T) {
	e := load(t, templateOf("Always", alwaysRego),
		constraintOf("Always", "pods", "{match: {kinds: [{apiGroups: [''], kinds: [Pod]}]}}"),
		constraintOf("Always", "ingresses", "{enforcementAction: dryrun, match: {kinds: [{apiGroups: [networking.k8s.io], kinds: [Ingress]}]}}"),
		"apiVersion: mutations.gatekeeper.sh/v1\nkind: Assign\nmetadata: {name: m}\nspec: {applyTo: [{groups: [apps], versions: [v1], kinds: [Deployment], operations: [CREATE]}], location: spec.replicas, parameters: {assign: {value: 2}}}\n",
		"apiVersion: expansion.gatekeeper.sh/v1beta1\nkind: ExpansionTemplate\nmetadata: {name: x}\nspec: {applyTo: [{groups: [apps], versions: [v1], kinds: [DaemonSet]}], templateSource: spec.template, generatedGVK: {group: '', version: v1, kind: Pod}}\n")
	var got []string
	for _, i := range e.Interests("") {
		line := i.Group + "/" + i.Resource + " " + i.Operation
		if i.Validates {
			line += " validates"
		}
		if i.Mutates {
			line += " mutates"
		}
		if i.FailClosed {
			line += " closed"
		}
		got = append(got, line)
	}
	want := []string{
		"/pods CREATE validates closed", "/pods UPDATE validates closed",
		"/pods/ephemeralcontainers UPDATE validates closed", "/pods/resize UPDATE validates closed",
		"apps/daemonsets CREATE validates closed", "apps/daemonsets UPDATE validates closed",
		"apps/deployments CREATE mutates closed",
		"networking.k8s.io/ingresses CREATE validates", "networking.k8s.io/ingresses UPDATE validates",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
