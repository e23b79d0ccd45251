package packets_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/test/packets"
	"github.com/portcullis-dev/portcullis/test/packets/netpol"
)

// names are the hosts of most tests, each with an address of either family.
var names = []string{"x/a", "x/b", "x/c", "y/a", "y/b", "y/c", "z/a", "z/b"}

// newNetwork attaches hosts that serve ports 80 and 81 of every protocol.
func newNetwork(t *testing.T, names ...string) (*packets.Network, map[string][]netip.Addr) {
	t.Helper()
	if err := packets.Unavailable(); err != nil {
		t.Skip(err)
	}
	network, err := packets.NewNetwork(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	addresses := map[string][]netip.Addr{}
	for i, name := range names {
		addresses[name] = []netip.Addr{netip.AddrFrom4([4]byte{10, 99, 0, byte(i + 2)}), netip.MustParseAddr(fmt.Sprintf("fd00:99::%x", i+2))}
		host, err := network.Attach(t.Context(), name, addresses[name]...)
		if err != nil {
			t.Fatal(err)
		}
		for _, protocol := range packets.Protocols {
			for _, port := range []int32{80, 81} {
				if err := host.Serve(protocol, port); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return network, addresses
}

func TestNetworkPoliciesDoToPacketsWhatKubernetesOwnTestsExpect(t *testing.T) {
	network, addresses := newNetwork(t, names...)
	for _, c := range netpol.Cases() {
		t.Run(c.Suite+" "+c.Name, func(t *testing.T) {
			for i, step := range c.Steps {
				policies, err := step.NetworkPolicies(addresses)
				if err != nil {
					t.Fatal(err)
				}
				pods, namespaces := c.Objects(&step, addresses)
				cluster := &packets.Cluster{Pods: pods, Namespaces: namespaces, NetworkPolicies: policies}
				if err := network.Enforce(t.Context(), cluster); err != nil {
					t.Fatal(err)
				}
				for _, table := range step.Tables {
					compare(t, network, &c, i, &table)
				}
			}
		})
	}
}

func compare(t *testing.T, network *packets.Network, c *netpol.Case, step int, table *netpol.Table) {
	t.Helper()
	var probes []packets.Probe
	for _, from := range c.Pods {
		for _, to := range c.Pods {
			if from == to {
				continue // upstream ignores it, too
			}
			receiver := network.Host(to)
			target := packets.Target{Host: receiver, Address: receiver.Addresses[0], Protocol: table.Protocol, Port: table.Port}
			probes = append(probes, packets.Probe{From: network.Host(from), To: target, Expected: table.Connected(from, to)})
		}
	}
	reached, err := packets.Measure(t.Context(), probes)
	if err != nil {
		t.Fatal(err)
	}
	for i, probe := range probes {
		if reached[i] != probe.Expected {
			t.Errorf("step %d: %s reaches %s, %s: got %t, want %t", step+1, probe.From.Name, probe.To.Host.Name, probe.To, reached[i], probe.Expected)
		}
	}
}

// object reads a manifest in one line.
func object[T any](t *testing.T, text string) T {
	t.Helper()
	var read T
	if err := yaml.UnmarshalStrict([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func pod(name string, addresses []netip.Addr) corev1.Pod {
	namespace, short, _ := strings.Cut(name, "/")
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: short, Labels: map[string]string{"pod": short}}}
	p.Spec.Containers = []corev1.Container{{Name: "serve", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 80}}}}
	for _, address := range addresses {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: address.String()})
	}
	return p
}

func namespace(name string) corev1.Namespace {
	return corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name}}}
}

func TestTiersAndPoliciesDoToPacketsWhatTheirAPISays(t *testing.T) {
	network, addresses := newNetwork(t, "x/a", "y/b", "outside")
	deny := `{metadata: {name: deny}, spec: {tier: Admin, priority: 10, subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {pod: a}}}},
		ingress: [{action: Deny, from: [{namespaces: {}}]}], egress: [{action: Deny, to: [{networks: [0.0.0.0/0, "::/0"]}]}]}}`
	allowWeb := `{metadata: {name: allow}, spec: {tier: Admin, priority: %d, subject: {namespaces: {}}, ingress: [{action: %s, from: [{namespaces: {}}], protocols: [{destinationNamedPort: web}]}]}}`
	baseline := `{metadata: {name: baseline}, spec: {tier: Baseline, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {range: {start: 79, end: 80}}}}]}]}}`
	isolate := `{metadata: {name: isolate, namespace: x}, spec: {podSelector: {}, policyTypes: [Ingress]}}`
	type way struct {
		from, to string
		family   int
		protocol corev1.Protocol
		port     int32
	}
	in, out := way{"y/b", "x/a", 0, corev1.ProtocolTCP, 80}, way{"x/a", "y/b", 0, corev1.ProtocolTCP, 80}
	tests := map[string]struct {
		tiers, policies []string
		want            map[way]bool
	}{
		"without policies everybody reaches everybody": {want: map[way]bool{
			in: true, out: true, {"outside", "x/a", 0, corev1.ProtocolTCP, 80}: true, {"y/b", "x/a", 1, corev1.ProtocolUDP, 81}: true, {"y/b", "x/a", 1, corev1.ProtocolSCTP, 81}: true,
		}},
		"a deny of the admin tier holds both ways, of either family and all protocols, but nothing from outside": {tiers: []string{deny}, want: map[way]bool{
			in: false, out: false, {"y/b", "x/a", 1, corev1.ProtocolTCP, 80}: false, {"x/a", "outside", 1, corev1.ProtocolUDP, 81}: false, {"y/b", "x/a", 1, corev1.ProtocolSCTP, 80}: false,
			{"outside", "x/a", 0, corev1.ProtocolTCP, 80}: true,
		}},
		"an earlier accept beats a later deny": {tiers: []string{deny, fmt.Sprintf(allowWeb, 5, "Accept")}, want: map[way]bool{
			in: true, {"y/b", "x/a", 0, corev1.ProtocolTCP, 81}: false, out: false,
		}},
		"a later accept does not beat an earlier deny": {tiers: []string{fmt.Sprintf(allowWeb, 11, "Accept"), deny}, want: map[way]bool{in: false}},
		"what passes the admin tier comes to the baseline tier": {tiers: []string{fmt.Sprintf(allowWeb, 5, "Pass"), deny, baseline}, want: map[way]bool{
			in: false, {"x/a", "y/b", 0, corev1.ProtocolTCP, 80}: false, {"outside", "y/b", 0, corev1.ProtocolTCP, 80}: true,
		}},
		"what passes both is let through": {tiers: []string{fmt.Sprintf(allowWeb, 5, "Pass"), deny}, want: map[way]bool{in: true}},
		"a baseline tier is not asked about a pod that a NetworkPolicy selects": {
			tiers: []string{baseline}, policies: []string{`{metadata: {name: open, namespace: x}, spec: {podSelector: {}, ingress: [{}]}}`}, want: map[way]bool{in: true, out: false},
		},
		"a NetworkPolicy holds what is outside, too": {policies: []string{isolate}, want: map[way]bool{
			in: false, out: true, {"outside", "x/a", 0, corev1.ProtocolTCP, 80}: false, {"outside", "x/a", 1, corev1.ProtocolUDP, 80}: false,
		}},
		"a block of addresses lets in what is outside": {
			policies: []string{isolate, `{metadata: {name: block, namespace: x}, spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.99.0.0/16, except: [10.99.0.3/32]}}], ports: [{port: 80, endPort: 81}]}]}}`},
			want:     map[way]bool{in: false, {"outside", "x/a", 0, corev1.ProtocolTCP, 81}: true, {"outside", "x/a", 1, corev1.ProtocolTCP, 81}: false},
		},
		"the node reaches the pods on it, whatever holds": {tiers: []string{deny}, policies: []string{isolate}, want: map[way]bool{in: false}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := &packets.Cluster{
				Pods:       []corev1.Pod{pod("x/a", addresses["x/a"]), pod("y/b", addresses["y/b"])},
				Namespaces: []corev1.Namespace{namespace("x"), namespace("y")},
			}
			for _, text := range test.tiers {
				cluster.ClusterPolicies = append(cluster.ClusterPolicies, object[packets.ClusterPolicy](t, text))
			}
			for _, text := range test.policies {
				cluster.NetworkPolicies = append(cluster.NetworkPolicies, object[networkingv1.NetworkPolicy](t, text))
			}
			if strings.HasPrefix(name, "the node") {
				cluster.Node = addresses["outside"]
				test.want[way{"outside", "x/a", 0, corev1.ProtocolTCP, 80}] = true
			}
			if err := network.Enforce(t.Context(), cluster); err != nil {
				t.Fatal(err)
			}
			var probes []packets.Probe
			for way, want := range test.want {
				to := network.Host(way.to)
				probes = append(probes, packets.Probe{From: network.Host(way.from), To: packets.Target{Host: to, Address: to.Addresses[way.family], Protocol: way.protocol, Port: way.port}, Expected: want})
			}
			reached, err := packets.Measure(t.Context(), probes)
			if err != nil {
				t.Fatal(err)
			}
			for i, probe := range probes {
				if reached[i] != probe.Expected {
					t.Errorf("%s reaches %s: got %t, want %t", probe.From.Name, probe.To, reached[i], probe.Expected)
				}
			}
		})
	}
}

// That a connection outlives its being forbidden is what agents do that keep track of
// connections, and why a quarantine says of them that they may persist.
func TestAConnectionThatWasLetThroughStaysOpenWhenItIsForbidden(t *testing.T) {
	network, addresses := newNetwork(t, "x/a", "y/b")
	cluster := &packets.Cluster{
		Pods:       []corev1.Pod{pod("x/a", addresses["x/a"]), pod("y/b", addresses["y/b"])},
		Namespaces: []corev1.Namespace{namespace("x"), namespace("y")},
	}
	if err := network.Enforce(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	if err := network.Host("x/a").ServeLines(7); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	connection, err := network.Host("y/b").Dial(ctx, "tcp", netip.AddrPortFrom(addresses["x/a"][0], 7))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	lines := bufio.NewReader(connection)
	say := func(line string) {
		t.Helper()
		if _, err := fmt.Fprintln(connection, line); err != nil {
			t.Fatal(err)
		}
		if err := connection.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if got, err := lines.ReadString('\n'); err != nil || got != line+"\n" {
			t.Fatalf("got %q, %v, want the line %q back", got, err, line)
		}
	}
	say("before")
	cluster.NetworkPolicies = append(cluster.NetworkPolicies, object[networkingv1.NetworkPolicy](t, `{metadata: {name: isolate, namespace: x}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}`))
	if err := network.Enforce(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	say("after")
	probe := packets.Probe{From: network.Host("y/b"), To: packets.Target{Address: addresses["x/a"][0], Protocol: corev1.ProtocolTCP, Port: 7}}
	reached, err := packets.Measure(t.Context(), []packets.Probe{probe})
	if err != nil {
		t.Fatal(err)
	}
	if reached[0] {
		t.Error("a new connection gets there, want it held up")
	}
}
