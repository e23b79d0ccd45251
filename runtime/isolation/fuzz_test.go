package isolation

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// Whatever a policy is like, a proof neither fails nor promises more than single peers show; and it says the same twice.
func FuzzEvaluate(f *testing.F) {
	for seed := range 40 {
		r := random{rand.New(rand.NewPCG(uint64(seed), 11))}
		for _, object := range objects(f, r.policy(enforcing[seed%len(enforcing)], "p")) {
			f.Add([]byte(object), uint8(seed))
		}
	}
	for _, api := range []API{ClusterNetworkPolicy, AdminNetworkPolicy, CiliumClusterwideNetworkPolicy, GlobalNetworkPolicy} {
		object, _ := DenyTier(api)
		f.Add([]byte(object), uint8(0))
	}
	f.Add([]byte(`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"shop"},"spec":{"podSelector":{},"podselector":{}}}]}`), uint8(1))
	f.Add([]byte(`{"apiVersion":"crd.antrea.io/v1beta1","kind":"NetworkPolicy","metadata":{"namespace":"shop"}}`), uint8(2))
	f.Fuzz(func(t *testing.T, manifest []byte, provider uint8) {
		c, subject := shop(t, enforcing[int(provider)%len(enforcing)], "")
		c.Policies = append(c.Policies, Object(manifest))
		report, err := Evaluate(c, subject)
		if err != nil {
			return
		}
		again, err := Evaluate(c, subject)
		if err != nil || !reflect.DeepEqual(report, again) {
			t.Fatalf("got %v, %v the second time, want %v", again, err, report)
		}
		var ends []Endpoint
		for i := range c.Pods[1:] {
			ends = append(ends, Endpoint{Pod: &c.Pods[i+1]})
		}
		ends = append(ends, Endpoint{IP: netip.MustParseAddr("192.0.2.7")}, Endpoint{IP: netip.MustParseAddr("2001:db8::1")})
		_, open := reach(t, c, &subject, ends)
		for d := range directions {
			if open[d] && !slices.ContainsFunc(report.Residual, func(f Flow) bool { return f.Direction == d.String() }) {
				t.Errorf("%s is possible: got %+v, want a flow that says so", d, report)
			}
		}
	})
}

// A selector that can be read says of each pod either one thing or, negated, the other.
func FuzzCalicoSelector(f *testing.F) {
	for _, text := range []string{
		"", "all()", "global()", "app == 'a'", `app != "a" && !has(role)`, "app in {'a', \"b\"} || role not in {}", "(app contains 'a') && !(role starts with 'x' || role ends with 'y')",
		"pcns.team == 'red'", "projectcalico.org/namespace == 'shop'", "!!has(a)", "app = 'a'", "has(", "((((((((((", "in in {'in'}", "not not in {'a'}", "'a' == 'b'", "app=='a'&&has(b)||!c=='d'",
	} {
		f.Add(text)
	}
	pods := []Pod{{Namespace: "shop"}, {Namespace: "shop", Labels: map[string]string{"app": "a"}}, {Namespace: "bank", Labels: map[string]string{"app": "b", "role": "xay"}, ServiceAccount: "x"}}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCalicoSelector(text, podLabel)
		if err != nil {
			return
		}
		if _, err := parseCalicoSelector("!("+text+")", podLabel); err != nil && text != "" && len(text) < maxSelector-3 && !nestedDeep(text) && !blank(text) {
			t.Errorf("%q can be read, its opposite cannot: %v", text, err)
		}
		for i := range pods {
			look := ofPod(&pods[i], &Namespace{Name: pods[i].Namespace})
			if got, want := c.not().holds(look), c.holds(look).not(); got != want {
				t.Errorf("not %q for %+v: got %v, want %v", text, pods[i], got, want)
			}
		}
		if c.possible(nil) && c.given(c, nil) != always {
			t.Errorf("%q given itself: got %v, want always", text, c.given(c, nil))
		}
	})
}

// nestedDeep says that one more pair of brackets may be too many.
func nestedDeep(text string) bool {
	return len(text) > maxSelectorDepth
}

func blank(text string) bool {
	tokens, err := calicoTokens(text)
	return err == nil && len(tokens) == 0
}

func FuzzManifests(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"n","labels":{"a":"b"},"annotations":{"kubernetes.io/config.mirror":"x"}},"spec":{"hostNetwork":true,"containers":[{"ports":[{"name":"http","containerPort":80}]}]},"status":{"podIP":"10.0.0.1"}}`))
	f.Add([]byte(`{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"p"}}]}`))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}}`))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		var c Cluster
		added, err := c.Add(manifest)
		if kept := len(c.Pods) + len(c.Namespaces) + len(c.Policies); err == nil && added != (kept > 0) {
			t.Errorf("got %t with %d objects kept", added, kept)
		}
	})
}

func TestSelectorsOfCalicoMeanWhatItsDocumentationSays(t *testing.T) {
	pod := &Pod{Namespace: "shop", ServiceAccount: "deploy", Labels: map[string]string{"type": "webserver", "deployment": "prod", "a.b/c-d_e": "x"}}
	look := ofPod(pod, &Namespace{Name: "shop", Labels: map[string]string{"team": "red"}})
	for text, want := range map[string]truth{
		`type == "webserver" && deployment == "prod"`:        always,
		`type in {"frontend", "backend"}`:                    never,
		`deployment != "dev"`:                                always,
		`! has(label_name)`:                                  always,
		`ghost != 'x'`:                                       always,
		`ghost not in {'x'}`:                                 always,
		`type contains 'serv'`:                               always,
		`type starts with 'web' && type ends with 'server'`:  always,
		`a.b/c-d_e == 'x'`:                                   always,
		`has(ghost) || type=='webserver'&&deployment=='dev'`: never,
		`!(has(ghost) || has(type))`:                         never,
		`all()`:                                              always,
		`global()`:                                           never,
		`type in {}`:                                         never,
		`projectcalico.org/namespace == 'shop'`:              always,
		`projectcalico.org/serviceaccount == "deploy"`:       always,
		`projectcalico.org/orchestrator == 'k8s'`:            perhaps,
		`pcns.team == 'red'`:                                 always,
		`pcsa.team == 'red'`:                                 perhaps,
	} {
		c, err := parseCalicoSelector(text, podLabel)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.holds(look); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"a", "a ==", "a == b", "a == 'b", "a in 'b'", "a in {'b'", "a in {'b' 'c'}", "(a == 'b'", "a == 'b')", "&& a == 'b'", "a starts 'b'", "has()", "has(a", "a == 'b' has(c)", "'a' == 'b'", "ä == 'b'", "=="} {
		if c, err := parseCalicoSelector(text, podLabel); err == nil {
			t.Errorf("%s: got %v, want an error", text, c)
		}
	}
}

func TestPodsAreReadFromManifests(t *testing.T) {
	raw, err := yaml.YAMLToJSON([]byte(`
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, uid: u1, labels: {app: web}, annotations: {k8s.v1.cni.cncf.io/networks: storage, kubernetes.io/config.mirror: h}}
spec:
  nodeName: n1
  hostNetwork: true
  serviceAccountName: sa
  initContainers: [{name: side, restartPolicy: Always, ports: [{name: metrics, containerPort: 9090}]}]
  containers: [{name: web, ports: [{name: http, containerPort: 8080, protocol: TCP}]}]
status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := PodOf(raw)
	want := Pod{
		Namespace: "shop", Name: "web", UID: "u1", Node: "n1", ServiceAccount: "sa", Labels: map[string]string{"app": "web"}, HostNetwork: true, Static: true, Networks: []string{"storage"},
		IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}, Ports: []Port{{"http", 8080, "TCP"}, {"metrics", 9090, ""}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	var c Cluster
	for text, want := range map[string]bool{
		`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`:                                    true,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"shop"}}`:                                    false,
		`{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}`:   true,
		`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicyList","items":[{"metadata":{"name":"a"}}]}`: true,
	} {
		if got, err := c.Add(Object(text)); err != nil || got != want {
			t.Errorf("%s: got %t, %v, want %t", text, got, err, want)
		}
	}
	if len(c.Pods) != 2 || len(c.Namespaces) != 1 || len(c.Policies) != 1 {
		t.Errorf("got %d pods, %d namespaces, %d policies, want 2, 1, 1", len(c.Pods), len(c.Namespaces), len(c.Policies))
	}
	for _, text := range []string{`{}`, `[]`, `{"kind":"Pod"}`, `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"List"}]}`} {
		if _, err := c.Add(Object(text)); err == nil {
			t.Errorf("%s: got nothing, want an error", text)
		}
	}
}

// The objects that isolate are understood by the proof without a rest, and are about pods with the label only.
func TestDenyTiersAreWrittenAsTheirAPIsHaveThem(t *testing.T) {
	for _, api := range []API{ClusterNetworkPolicy, AdminNetworkPolicy, CiliumClusterwideNetworkPolicy, GlobalNetworkPolicy} {
		object, resource := DenyTier(api)
		w, err := newWorld(&Cluster{Policies: []Object{object}})
		if err != nil || len(w.policies) != 1 {
			t.Fatalf("%s: got %d policies, %v, want 1", api, len(w.policies), err)
		}
		p := w.policies[0]
		if p.vague != "" || p.name != denyTierName || resource.Empty() {
			t.Errorf("%s: got %q, %s, %v, want it to be understood, with its name and resource", api, p.vague, p.name, resource)
		}
		for d := range directions {
			for _, r := range p.rules[d] {
				if r.vague != "" || r.action != deny {
					t.Errorf("%s: %s: got %+v, want a deny", api, d, r)
				}
			}
		}
		with := &Pod{Namespace: "a", Labels: map[string]string{quarantineLabel: "any"}}
		without := &Pod{Namespace: "a", Labels: map[string]string{"app": "web"}}
		if got := p.subjects.holds(ofPod(with, nil)); got != always {
			t.Errorf("%s about a pod with the label: got %v, want always", api, got)
		}
		if got := p.subjects.holds(ofPod(without, nil)); got != never {
			t.Errorf("%s about a pod without: got %v, want never", api, got)
		}
		if !slices.Contains(Resources(), resource) {
			t.Errorf("%s: %v is not among the resources that a proof reads", api, resource)
		}
	}
	if object, resource := DenyTier("Other"); object != nil || !resource.Empty() {
		t.Errorf("got %s, %v for an API that is not known, want nothing", object, resource)
	}
}

func TestSimulateChangesNothingOfWhatItIsGiven(t *testing.T) {
	c, subject := shop(t, KubeNetworkPolicies, np("web", "{podSelector: {matchLabels: {app: web}}, ingress: [{}]}"))
	c.Policies = c.Policies[:1]
	subject.Labels = map[string]string{"app": "web"}
	c.Pods[0] = subject
	before := fmt.Sprint(*c, subject)
	for name, test := range map[string]struct {
		measures Measures
		want     Verdict
	}{
		"in place, other policies still select the pod":      {Measures{Quarantine: "q"}, Residual},
		"detached, they do not":                              {Measures{Quarantine: "q", Detach: true}, Isolated},
		"a standing deny that is not there is not relied on": {Measures{Quarantine: "q", DenyTier: ClusterNetworkPolicy, Standing: true}, Residual},
	} {
		after, pod := Simulate(c, subject, test.measures)
		report, err := Evaluate(after, pod)
		if err != nil || report.Verdict != test.want {
			t.Errorf("%s: got %s, %v, want %s", name, report.Verdict, err, test.want)
		}
		if after.Pods[0].Labels[quarantineLabel] != "q" {
			t.Errorf("%s: the pod is not changed among the cluster's", name)
		}
	}
	if after := fmt.Sprint(*c, subject); after != before {
		t.Errorf("got %s\nwant %s", after, before)
	}
}
