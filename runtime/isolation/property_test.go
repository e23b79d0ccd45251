package isolation

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// random makes clusters and policies of all kinds out of few labels, addresses and ports, so that they meet each other often.
type random struct{ *rand.Rand }

func (r random) one(of ...string) string { return of[r.IntN(len(of))] }

func (r random) some(n int) bool { return r.IntN(n) == 0 }

func (r random) list(most int, of func() string) string {
	var parts []string
	for range r.IntN(most + 1) {
		parts = append(parts, of())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// least is a list of at least one.
func (r random) least(most int, of func() string) string {
	rest := r.list(most-1, of)
	if rest == "[]" {
		return "[" + of() + "]"
	}
	return "[" + of() + ", " + rest[1:]
}

func (r random) labels() string {
	return r.one(`{}`, `{}`, `{matchLabels: {app: a}}`, `{matchLabels: {app: b}}`, `{matchExpressions: [{key: app, operator: NotIn, values: [a]}]}`,
		`{matchExpressions: [{key: role, operator: Exists}]}`, `{matchExpressions: [{key: role, operator: DoesNotExist}]}`, `{matchExpressions: [{key: app, operator: In, values: [a, b]}]}`)
}

func (r random) namespaces() string {
	return r.one(`{}`, `{matchLabels: {team: red}}`, `{matchLabels: {kubernetes.io/metadata.name: bank}}`, `{matchExpressions: [{key: team, operator: NotIn, values: [red]}]}`)
}

// subjects selects the pod under test more often than not.
func (r random) subjects() string {
	return r.one(`{}`, `{}`, `{matchLabels: {app: a}}`, `{matchLabels: {app: b}}`, `{matchExpressions: [{key: `+quarantineLabel+`, operator: DoesNotExist}]}`)
}

func (r random) block() string {
	return r.one("10.1.0.0/16", "10.1.0.0/30", "0.0.0.0/0", "192.0.2.0/24", "192.0.2.7/32", "'::/0'", "fd00::/8")
}

func (r random) networkPolicy(name string) string {
	peer := func() string {
		switch r.IntN(4) {
		case 0:
			return "{podSelector: " + r.labels() + "}"
		case 1:
			return "{namespaceSelector: " + r.namespaces() + "}"
		case 2:
			return "{namespaceSelector: " + r.namespaces() + ", podSelector: " + r.labels() + "}"
		default:
			return "{ipBlock: {cidr: " + r.one("10.1.0.0/16, except: [10.1.0.4/30]", "192.0.2.0/24", "0.0.0.0/0, except: [10.0.0.0/8]", "'::/0'") + "}}"
		}
	}
	port := func() string {
		return r.one("{port: 80}", "{port: 53, protocol: UDP}", "{port: 50, endPort: 90}", "{port: http}", "{protocol: SCTP}")
	}
	rules := func(way string) string {
		return r.list(2, func() string {
			return "{" + way + ": " + r.list(2, peer) + ", ports: " + r.list(2, port) + "}"
		})
	}
	return np(name, fmt.Sprintf("{podSelector: %s, policyTypes: %s, ingress: %s, egress: %s}", r.subjects(), r.one("[Ingress]", "[Egress]", "[Ingress, Egress]"), rules("from"), rules("to")))
}

func (r random) clusterRules(actions []string) (ingress, egress string) {
	pods := func() string {
		return r.one("{namespaces: "+r.namespaces()+"}", "{pods: {namespaceSelector: "+r.namespaces()+", podSelector: "+r.labels()+"}}")
	}
	anyPeer := func() string {
		if r.some(3) {
			return "{networks: " + r.least(2, r.block) + "}"
		}
		return pods()
	}
	ports := func() string {
		return r.one("", "", ", protocols: [{tcp: {destinationPort: {number: 80}}}]", ", protocols: [{udp: {}}, {tcp: {destinationPort: {range: {start: 50, end: 90}}}}]", ", protocols: [{destinationNamedPort: http}]")
	}
	ingress = r.list(3, func() string { return "{action: " + r.one(actions...) + ", from: " + r.least(2, pods) + ports() + "}" })
	egress = r.list(3, func() string { return "{action: " + r.one(actions...) + ", to: " + r.least(2, anyPeer) + ports() + "}" })
	return ingress, egress
}

func (r random) clusterPolicy(name string) string {
	ingress, egress := r.clusterRules([]string{"Accept", "Deny", "Deny", "Pass"})
	return cluster(name, fmt.Sprintf("{tier: %s, priority: %d, subject: {pods: {namespaceSelector: {}, podSelector: %s}}, ingress: %s, egress: %s}", r.one("Admin", "Admin", "Baseline"), r.IntN(4), r.subjects(), ingress, egress))
}

func (r random) ciliumPolicy(name string) string {
	peer := func(way string) string {
		return r.one(way+"Endpoints: ["+r.labels()+"]", way+"Endpoints: [{matchLabels: {'k8s:io.kubernetes.pod.namespace': bank}}]", way+"CIDR: ["+r.block()+"]",
			way+"Entities: ["+r.one("all", "world", "cluster", "host", "remote-node", "init", "kube-apiserver")+"]")
	}
	rules := func(way string) string {
		return r.list(2, func() string {
			return "{" + peer(way) + r.one("", "", ", toPorts: [{ports: [{port: '80', protocol: TCP}]}]", ", toPorts: [{ports: [{port: '53', protocol: ANY}, {port: http}]}]") + "}"
		})
	}
	spec := fmt.Sprintf("{endpointSelector: %s, ingress: %s, egress: %s, ingressDeny: %s, egressDeny: %s%s}", r.subjects(), rules("from"), rules("to"), rules("from"), rules("to"), r.one("", "", ", enableDefaultDeny: {ingress: false}"))
	if r.some(2) {
		return ciliumWide(name, spec)
	}
	return cilium(name, spec)
}

func (r random) calicoPolicy(name string) string {
	entity := func() string {
		return r.one("", "selector: app == 'a'", "selector: '!has(role)'", "selector: 'app in {\"a\", \"b\"} || has(role)'", "namespaceSelector: team == 'red'", "nets: ["+r.block()+"]", "notNets: ["+r.block()+"]",
			"notSelector: app == 'b'", "selector: all(), nets: [10.1.0.0/16]", "serviceAccounts: {names: [default]}")
	}
	rules := func(way string) string {
		return r.list(3, func() string {
			ports := r.one("", "ports: [80]", "ports: ['50:90', http]", "notPorts: [80]")
			protocol := ""
			if ports != "" {
				protocol = ", protocol: " + r.one("TCP", "UDP")
			}
			peer, destination := way+": {"+entity()+"}, ", "destination: {"+ports+"}"
			if way == "destination" {
				peer, destination = "", "destination: {"+strings.Trim(entity()+", "+ports, ", ")+"}"
			}
			return "{action: " + r.one("Allow", "Allow", "Deny", "Pass", "Log") + protocol + ", " + peer + destination + "}"
		})
	}
	order := r.one("", "", "order: 1, ", "order: 1000, ", "order: 2000, ")
	spec := fmt.Sprintf("{%stier: %s, selector: %s, types: %s, ingress: %s, egress: %s}", order, r.one("default", "default", "early", "late"),
		r.one("all()", "all()", "app == 'a'", "has("+quarantineLabel+")"), r.one("[Ingress]", "[Egress]", "[Ingress, Egress]"), rules("source"), rules("destination"))
	if r.some(2) {
		return calicoGlobal(name, spec)
	}
	return calico(name, spec)
}

func (r random) policy(cni CNI, name string) string {
	switch {
	case r.some(2):
		return r.networkPolicy(name)
	case cni == Cilium:
		return r.ciliumPolicy(name)
	case cni == Calico && !r.some(5):
		return r.calicoPolicy(name)
	default:
		return r.clusterPolicy(name)
	}
}

// cluster is a few policies, and pods and addresses of which each is a peer of its own kind.
func (r random) cluster(t testing.TB, cni CNI) (*Cluster, Pod, []Endpoint) {
	var text strings.Builder
	for i := range r.IntN(5) {
		text.WriteString(r.policy(cni, fmt.Sprint("p", i)))
	}
	text.WriteString(tier("early", "{order: 1"+r.one("", ", defaultAction: Pass")+"}") + tier("late", "{order: 2000000}"))
	c := &Cluster{CNI: cni, Policies: objects(t, text.String())}
	c.Namespaces = []Namespace{{Name: "shop", Labels: map[string]string{"team": "red"}}, {Name: "bank", Labels: map[string]string{"team": "blue"}}, {Name: "bare"}}
	subject := Pod{Namespace: "shop", Name: "subject", Labels: map[string]string{quarantineLabel: "q"}, IPs: []netip.Addr{netip.MustParseAddr("10.1.0.1")}, Ports: []Port{{Name: "http", Port: 80}}}
	if r.some(2) {
		subject.Labels["app"] = "a"
	}
	var ends []Endpoint
	for i, namespace := range []string{"shop", "bank", "bare"} {
		for j, labels := range []map[string]string{nil, {"app": "a"}, {"app": "b", "role": "x"}, {"role": "y"}} {
			pod := Pod{Namespace: namespace, Name: fmt.Sprint("pod", j), Labels: labels, IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i), byte(2 + j)})}, Ports: []Port{{Name: "http", Port: int32(70 + 10*i)}}}
			c.Pods = append(c.Pods, pod)
			ends = append(ends, Endpoint{Pod: &pod})
		}
	}
	for _, address := range []string{"192.0.2.7", "192.0.2.8", "8.8.8.8", "fd00::1", "2001:db8::1"} {
		ends = append(ends, Endpoint{IP: netip.MustParseAddr(address)})
	}
	return c, subject, ends
}

// pairs are ports that tell all rules of random apart.
var pairs = []struct {
	port     int32
	protocol protocol
}{{80, tcp}, {53, tcp}, {53, udp}, {80, udp}, {60, tcp}, {70, tcp}, {90, tcp}, {443, tcp}, {80, sctp}, {0, otherProtocols}}

// reach is what the subject's own policies permit, as text: each true of it is one connection.
func reach(t testing.TB, c *Cluster, subject *Pod, ends []Endpoint) (permitted map[string]bool, open [directions]bool) {
	t.Helper()
	w, err := newWorld(c)
	if err != nil {
		t.Fatal(err)
	}
	permitted = map[string]bool{}
	for d := range directions {
		stages := w.stages(c.CNI, subject, d)
		for i, end := range ends {
			a := w.atomOf(end)
			var accepted portSet
			w.walk(stages, d, &a, func(x decision) {
				if x.action == accept {
					accepted = accepted.union(x.ports)
				}
			})
			for _, pair := range pairs {
				possible := !accepted.intersect(portsOf(pair.protocol, pair.port, pair.port)).empty()
				permitted[fmt.Sprint(d, " ", i, " ", pair.protocol, " ", pair.port)] = possible
				open[d] = open[d] || possible
			}
		}
	}
	return permitted, open
}

// rounds is how many random clusters a property is tried on. PORTCULLIS_SOAK tries more.
func rounds(t *testing.T) int {
	t.Helper()
	switch {
	case os.Getenv("PORTCULLIS_SOAK") != "":
		return 5000
	case testing.Short():
		return 30
	default:
		return 150
	}
}

var enforcing = []CNI{Calico, Cilium, Antrea, OVNKubernetes, KubeNetworkPolicies}

func each(t *testing.T, check func(t *testing.T, r random, cni CNI)) {
	for _, cni := range enforcing {
		t.Run(string(cni), func(t *testing.T) {
			for seed := range rounds(t) {
				check(t, random{rand.New(rand.NewPCG(uint64(seed), 7))}, cni)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func texts(policies []Object) string {
	var b strings.Builder
	for _, p := range policies {
		b.WriteString(string(p) + "\n")
	}
	return b.String()
}

// What single pods and addresses can do is within what the proof over all of them says.
func TestWhatIsProvedHoldsForEachPeer(t *testing.T) {
	isolated := 0
	each(t, func(t *testing.T, r random, cni CNI) {
		c, subject, ends := r.cluster(t, cni)
		if r.some(2) {
			c.Policies = append(c.Policies, NetworkPolicy("q", "shop"))
		}
		report, err := Evaluate(c, subject)
		if err != nil {
			t.Fatal(err)
		}
		permitted, open := reach(t, c, &subject, ends)
		for d := range directions {
			if open[d] && !slices.ContainsFunc(report.Residual, func(f Flow) bool { return f.Direction == d.String() }) {
				var which []string
				for key, possible := range permitted {
					if possible {
						which = append(which, key)
					}
				}
				t.Errorf("%s: got no flow, want one, because these are possible: %v\n%s", d, which, texts(c.Policies))
			}
		}
		if report.Verdict == Isolated {
			isolated++
		}
	})
	if isolated == 0 {
		t.Error("no cluster was isolated: the property was not tried")
	}
}

func TestAddingAnAllowNeverReducesReach(t *testing.T) {
	each(t, func(t *testing.T, r random, cni CNI) {
		c, subject, ends := r.cluster(t, cni)
		// A pod that no NetworkPolicy was about is cut off by its first: the property is about those after.
		c.Policies = append(c.Policies, NetworkPolicy("q", "shop"))
		before, _ := reach(t, c, &subject, ends)
		c.Policies = append(c.Policies, objects(t, r.networkPolicy("more"))...)
		after, _ := reach(t, c, &subject, ends)
		for key, possible := range before {
			if possible && !after[key] {
				t.Errorf("%s: got impossible after an allow was added, want it to stay possible\n%s", key, texts(c.Policies))
			}
		}
	})
}

func TestAddingAnEarlierDenyNeverIncreasesReach(t *testing.T) {
	each(t, func(t *testing.T, r random, cni CNI) {
		c, subject, ends := r.cluster(t, cni)
		before, _ := reach(t, c, &subject, ends)
		object, _ := DenyTier(denyTierOf(cni))
		c.Policies = append(c.Policies, object)
		after, _ := reach(t, c, &subject, ends)
		for key, possible := range after {
			if possible && !before[key] {
				t.Errorf("%s: got possible after a deny was added, want it to stay impossible\n%s", key, texts(c.Policies))
			}
		}
	})
}

func denyTierOf(cni CNI) API {
	return map[CNI]API{Calico: GlobalNetworkPolicy, Cilium: CiliumClusterwideNetworkPolicy, Antrea: AdminNetworkPolicy, OVNKubernetes: AdminNetworkPolicy, KubeNetworkPolicies: ClusterNetworkPolicy}[cni]
}

func TestTheOrderOfTheInputDoesNotMatter(t *testing.T) {
	each(t, func(t *testing.T, r random, cni CNI) {
		c, subject, _ := r.cluster(t, cni)
		first, err := Evaluate(c, subject)
		if err != nil {
			t.Fatal(err)
		}
		r.Shuffle(len(c.Policies), func(i, j int) { c.Policies[i], c.Policies[j] = c.Policies[j], c.Policies[i] })
		r.Shuffle(len(c.Pods), func(i, j int) { c.Pods[i], c.Pods[j] = c.Pods[j], c.Pods[i] })
		r.Shuffle(len(c.Namespaces), func(i, j int) { c.Namespaces[i], c.Namespaces[j] = c.Namespaces[j], c.Namespaces[i] })
		second, err := Evaluate(c, subject)
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("got %s, %v\nwant %s\n%s", mustJSON(second), err, mustJSON(first), texts(c.Policies))
		}
	})
}

func mustJSON(v any) string {
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// The deny of a provider's own API isolates whatever else allows; but for what an earlier tier accepts, and, where its ingress knows pods
// only, what a NetworkPolicy allows from addresses.
func TestTheStandingDenyIsolates(t *testing.T) {
	for _, test := range []struct {
		cni CNI
		api API
	}{{Cilium, CiliumClusterwideNetworkPolicy}, {Calico, GlobalNetworkPolicy}, {KubeNetworkPolicies, ClusterNetworkPolicy}, {OVNKubernetes, AdminNetworkPolicy}} {
		t.Run(string(test.cni), func(t *testing.T) {
			for seed := range rounds(t) {
				r := random{rand.New(rand.NewPCG(uint64(seed), 9))}
				c, subject, _ := r.cluster(t, test.cni)
				c.Policies = nil
				var text strings.Builder
				for i := range 4 {
					if test.cni == Cilium && r.some(2) {
						text.WriteString(r.ciliumPolicy(fmt.Sprint("c", i)))
					} else {
						text.WriteString(r.networkPolicy(fmt.Sprint("n", i)))
					}
				}
				c.Policies = objects(t, text.String())
				after, pod := Simulate(c, subject, Measures{Quarantine: "q", DenyTier: test.api})
				report, err := Evaluate(after, pod)
				if err != nil {
					t.Fatal(err)
				}
				for _, flow := range report.Residual {
					onlyPods := test.api == ClusterNetworkPolicy || test.api == AdminNetworkPolicy
					if !onlyPods || flow.Direction == Egress || strings.Contains(flow.Peer, "pods") || flow.Peer == anything {
						t.Fatalf("seed %d: got %s, want nothing to remain\n%s", seed, flow, texts(after.Policies))
					}
				}
			}
		})
	}
}

// What is said of all pods that meet a condition holds for each.
func TestAConditionGivenAnotherHoldsForEachPod(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 2))}
	namespaces := map[string]*Namespace{"shop": {Name: "shop", Labels: map[string]string{"team": "red"}}, "bank": {Name: "bank", Labels: map[string]string{"team": "blue"}}}
	var atom func(depth int) condition
	atom = func(depth int) condition {
		on := []attribute{{podLabel, "app"}, {podLabel, "role"}, {namespaceLabel, "team"}, {namespaceLabel, namespaceName}, {domain: serviceAccountName}}[r.IntN(5)]
		values := []string{r.one("a", "b", "red", "shop", "bank"), r.one("a", "ab", "blue", "default")}
		if depth > 0 && r.some(2) {
			parts := []condition{atom(depth - 1), atom(depth - 1)}
			if r.some(2) {
				return or(parts...)
			}
			return and(parts...)
		}
		switch r.IntN(6) {
		case 0:
			return in(on, values[r.IntN(2):]...)
		case 1:
			return notIn(on, values...)
		case 2:
			return condition{op: opHas, on: on}
		case 3:
			return condition{op: opHasNot, on: on}
		case 4:
			return condition{op: []operator{opText, opTextNot}[r.IntN(2)], on: on, text: textMatch(r.IntN(3)), values: values[:1]}
		default:
			return unknown(r.one("x", "y"))
		}
	}
	certain := 0
	for range 20000 {
		c, given := atom(2), atom(2)
		said, possible := c.given(given, namespaces), given.possible(namespaces)
		for range 8 {
			pod := Pod{Namespace: r.one("shop", "bank"), Labels: map[string]string{}, ServiceAccount: r.one("", "a")}
			for _, key := range []string{"app", "role"} {
				if r.some(2) {
					pod.Labels[key] = r.one("a", "b", "ab", "red")
				}
			}
			look := ofPod(&pod, namespaces[pod.Namespace])
			if c.not().holds(look) != c.holds(look).not() {
				t.Fatalf("not %v: got %v of %+v, want the opposite", c, c.not().holds(look), pod)
			}
			if given.holds(look) != always {
				continue
			}
			if !possible {
				t.Fatalf("%v: got impossible, want possible, because it holds for %+v", given, pod)
			}
			if holds := c.holds(look); said != perhaps && holds != said {
				t.Fatalf("%v given %v: got %v, want %v as for %+v", c, given, said, holds, pod)
			}
			if said != perhaps {
				certain++
			}
		}
	}
	if certain == 0 {
		t.Error("nothing was said for sure: the property was not tried")
	}
}

func TestSetsOfAddressesAndPortsAreSets(t *testing.T) {
	r := random{rand.New(rand.NewPCG(3, 4))}
	blocks := func() addresses {
		var texts []string
		for range r.IntN(4) {
			texts = append(texts, fmt.Sprintf("10.0.0.%d/%d", r.IntN(256), 24+r.IntN(9)))
		}
		set, err := parseAddresses(texts, nil)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	ports := func() portSet {
		var set portSet
		for range r.IntN(4) {
			first := int32(r.IntN(20))
			set = set.union(portsOf(protocol(r.IntN(2)), first, first+int32(r.IntN(4))))
		}
		return set
	}
	for range 500 {
		a, b := blocks(), blocks()
		x, y := ports(), ports()
		for i := range 256 {
			ip := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			if got, want := a.less(b).contains(ip), a.contains(ip) && !b.contains(ip); got != want {
				t.Fatalf("%s in %v less %v: got %t, want %t", ip, a, b, got, want)
			}
			if got, want := a.union(b).contains(ip), a.contains(ip) || b.contains(ip); got != want {
				t.Fatalf("%s in %v and %v: got %t, want %t", ip, a, b, got, want)
			}
		}
		for i := range int32(24) {
			in := func(s portSet) bool { return !s.intersect(portsOf(tcp, i, i)).empty() }
			if got, want := in(x.less(y)), in(x) && !in(y); got != want {
				t.Fatalf("%d in %v less %v: got %t, want %t", i, x, y, got, want)
			}
			if got, want := in(x.union(y)), in(x) || in(y); got != want {
				t.Fatalf("%d in %v and %v: got %t, want %t", i, x, y, got, want)
			}
		}
		for _, cell := range cells([]addresses{a, b}) {
			if a.contains(cell.first) != a.contains(cell.last) || b.contains(cell.first) != b.contains(cell.last) {
				t.Fatalf("the cell %v is partly within %v or %v", cell, a, b)
			}
		}
	}
}
