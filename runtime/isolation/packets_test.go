package isolation_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/test/packets"
)

// providers are those whose policies are enforced with real packets here, each with a deny that stands before all others.
var providers = []struct {
	cni      isolation.CNI
	denyTier isolation.API
}{{isolation.KubeNetworkPolicies, isolation.ClusterNetworkPolicy}, {isolation.Calico, isolation.GlobalNetworkPolicy}}

// sets is how many generated sets of policies of a provider are tried with packets: each takes half a second. PORTCULLIS_SOAK tries more.
func sets(t *testing.T) int {
	t.Helper()
	switch {
	case os.Getenv("PORTCULLIS_SOAK") != "":
		return 300
	case testing.Short():
		return 5
	default:
		return 20
	}
}

// site is the network that the tests send packets in: pods, and one host outside of the cluster.
type site struct {
	network    *packets.Network
	pods       []corev1.Pod
	namespaces []corev1.Namespace
	hosts      []*packets.Host // those of the pods, in order, and the one outside
}

// outside is an address that no pod has (RFC 5737, RFC 3849).
var outside = []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")}

func newSite(t *testing.T) *site {
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
	s := &site{network: network}
	for _, namespace := range []string{
		`{metadata: {name: x, labels: {kubernetes.io/metadata.name: x, team: red}}}`,
		`{metadata: {name: "y", labels: {kubernetes.io/metadata.name: "y", team: blue}}}`,
		`{metadata: {name: z, labels: {kubernetes.io/metadata.name: z}}}`,
	} {
		s.namespaces = append(s.namespaces, parse[corev1.Namespace](t, namespace))
	}
	// The same name stands for different ports, so that it has to be looked up in the pod that receives.
	for i, pod := range []string{
		`{metadata: {namespace: x, name: a, labels: {app: web, tier: front}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}, {name: dns, containerPort: 80, protocol: UDP}]}]}}`,
		`{metadata: {namespace: x, name: b, labels: {app: db}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 81}]}]}}`,
		`{metadata: {namespace: "y", name: a, labels: {app: web, tier: back}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 81}, {name: dns, containerPort: 81, protocol: UDP}]}]}}`,
		`{metadata: {namespace: "y", name: b}, spec: {containers: [{name: c}]}}`,
		`{metadata: {namespace: z, name: a, labels: {app: db, tier: front}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 80, protocol: SCTP}]}]}}`,
	} {
		parsed := parse[corev1.Pod](t, pod)
		addresses := []netip.Addr{netip.AddrFrom4([4]byte{10, 99, byte(i / 2), byte(i + 2)}), netip.MustParseAddr(fmt.Sprintf("fd00:99::%d:%d", i/2, i+2))}
		for _, address := range addresses {
			parsed.Status.PodIPs = append(parsed.Status.PodIPs, corev1.PodIP{IP: address.String()})
		}
		s.pods = append(s.pods, parsed)
		s.attach(t, parsed.Namespace+"/"+parsed.Name, addresses)
	}
	s.attach(t, "outside", outside)
	return s
}

func (s *site) attach(t *testing.T, name string, addresses []netip.Addr) {
	t.Helper()
	host, err := s.network.Attach(t.Context(), name, addresses...)
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
	s.hosts = append(s.hosts, host)
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var parsed T
	if err := yaml.UnmarshalStrict([]byte(text), &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}

// endpoint is a host as a proof sees it.
func (s *site) endpoint(c *isolation.Cluster, host, family int) isolation.Endpoint {
	if host == len(c.Pods) {
		return isolation.Endpoint{IP: outside[family]}
	}
	return isolation.Endpoint{Pod: &c.Pods[host], IP: c.Pods[host].IPs[family]}
}

// services are what is tried between any two hosts.
var services = []struct {
	protocol corev1.Protocol
	port     int32
}{{corev1.ProtocolTCP, 80}, {corev1.ProtocolTCP, 81}, {corev1.ProtocolUDP, 80}, {corev1.ProtocolUDP, 81}, {corev1.ProtocolSCTP, 80}}

// What the proof says is possible is what packets do, and nothing else: between any two pods, and with what is outside.
func TestPacketsGoWhereTheProofSaysTheyCanAndNowhereElse(t *testing.T) {
	s := newSite(t)
	for _, provider := range providers {
		through, heldUp := 0, 0
		for seed := range sets(t) {
			t.Run(fmt.Sprintf("%s, seed %d", provider.cni, seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(uint64(seed), 1))
				cluster := s.generate(random, provider.cni)
				exact := !combines(cluster)
				probes, why := s.predict(proofOf(t, cluster, provider.cni), random)
				for i, reached := range s.send(t, cluster, probes) {
					if reached {
						through++
					} else {
						heldUp++
					}
					if probe := probes[i]; reached && !probe.Expected || !reached && probe.Expected && exact {
						t.Errorf("%s to %s, %s: packets get there: %t, the proof says %t (%s)", probe.From.Name, probe.To.Host.Name, probe.To, reached, probe.Expected, why[i])
					}
				}
				if t.Failed() {
					t.Logf("the policies:\n%s", describe(t, cluster))
				}
			})
		}
		t.Logf("%s: %d packets got through, %d were held up", provider.cni, through, heldUp)
		if through == 0 || heldUp == 0 {
			t.Errorf("%s: all packets fared alike: the sets of policies say nothing", provider.cni)
		}
	}
}

// combines says that a rule of Calico's is about labels and addresses at once. Of such the proof is on the safe side: it takes
// for possible what may not be.
func combines(c *packets.Cluster) bool {
	return slices.ContainsFunc(c.CalicoPolicies, func(policy packets.CalicoPolicy) bool {
		return slices.ContainsFunc(slices.Concat(policy.Ingress, policy.Egress), func(rule packets.CalicoRule) bool {
			return len(rule.Nets) > 0 && (rule.Pods != nil || rule.Namespaces != nil)
		})
	})
}

// send enforces the policies and makes the attempts.
func (s *site) send(t *testing.T, c *packets.Cluster, probes []packets.Probe) []bool {
	t.Helper()
	if err := s.network.Enforce(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	reached, err := packets.Measure(t.Context(), probes)
	if err != nil {
		t.Fatal(err)
	}
	return reached
}

// predict are probes between all hosts, with what the proof says of each.
func (s *site) predict(c *isolation.Cluster, random *rand.Rand) (probes []packets.Probe, reasons []string) {
	for from := range s.hosts {
		for to := range s.hosts {
			if from == to {
				continue
			}
			for _, service := range services {
				family := random.IntN(2)
				want, why := c.Reachable(s.endpoint(c, from, family), s.endpoint(c, to, family), service.port, string(service.protocol))
				target := packets.Target{Host: s.hosts[to], Address: s.hosts[to].Addresses[family], Protocol: service.protocol, Port: service.port}
				probes = append(probes, packets.Probe{From: s.hosts[from], To: target, Expected: want})
				reasons = append(reasons, why)
			}
		}
	}
	return probes, reasons
}

// A pod that the proof calls isolated gets no packet out and none in, whatever policies there were before. Where the proof
// names residual traffic, that is not for nothing: often enough it is there.
func TestNoPacketLeavesOrEntersAPodThatTheProofCallsIsolated(t *testing.T) {
	s := newSite(t)
	for _, provider := range providers {
		verdicts := map[isolation.Verdict]int{}
		leaks := 0
		for seed := range sets(t) {
			t.Run(fmt.Sprintf("%s, seed %d", provider.cni, seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(uint64(seed), 2))
				cluster := s.generate(random, provider.cni)
				subject := random.IntN(len(s.pods))
				measures := isolation.Measures{Quarantine: "q-0123456789abcdef0123", Detach: random.IntN(2) == 0}
				if random.IntN(2) == 0 {
					measures.DenyTier = provider.denyTier
				}
				after, verdict := s.quarantine(t, cluster, provider.cni, subject, measures)
				verdicts[verdict]++
				all, _ := s.predict(proofOf(t, after, provider.cni), random)
				probes := s.touching(all, subject)
				for i, reached := range s.send(t, after, probes) {
					if !reached {
						continue
					}
					leaks++
					if probe := probes[i]; verdict == isolation.Isolated {
						t.Errorf("%s reaches %s, %s, though the verdict is %s:\n%s", probe.From.Name, probe.To.Host.Name, probe.To, verdict, describe(t, after))
					}
				}
			})
		}
		t.Logf("%s: verdicts %v, %d packets got through to or from pods with residual traffic", provider.cni, verdicts, leaks)
		if verdicts[isolation.Isolated] == 0 || verdicts[isolation.Residual] == 0 || leaks == 0 {
			t.Errorf("%s: got verdicts %v and %d leaks, want some of each: otherwise nothing is tried", provider.cni, verdicts, leaks)
		}
	}
}

// touching are the attempts from and to one pod. None is expected to get there, so that none is given more time.
func (s *site) touching(probes []packets.Probe, subject int) []packets.Probe {
	var found []packets.Probe
	for _, probe := range probes {
		if probe.From == s.hosts[subject] || probe.To.Host == s.hosts[subject] {
			probe.Expected = false
			found = append(found, probe)
		}
	}
	return found
}

// quarantine isolates a pod as the responder would, and proves it: the cluster as it is then, and the verdict.
func (s *site) quarantine(t *testing.T, cluster *packets.Cluster, cni isolation.CNI, subject int, measures isolation.Measures) (*packets.Cluster, isolation.Verdict) {
	t.Helper()
	before := proofOf(t, cluster, cni)
	proved, pod := isolation.Simulate(before, before.Pods[subject], measures)
	report, err := isolation.Evaluate(proved, pod)
	if err != nil {
		t.Fatal(err)
	}
	after := *cluster
	after.Pods = slices.Clone(cluster.Pods)
	after.Pods[subject].Labels = pod.Labels
	for _, object := range proved.Policies[len(before.Policies):] {
		enforceToo(t, &after, object)
	}
	return &after, report.Verdict
}

// enforceToo adds an object that isolates to what is enforced with packets.
func enforceToo(t *testing.T, c *packets.Cluster, object isolation.Object) {
	t.Helper()
	var header metav1.TypeMeta
	if err := json.Unmarshal(object, &header); err != nil {
		t.Fatal(err)
	}
	switch kind := header.Kind; kind {
	case "NetworkPolicy":
		c.NetworkPolicies = append(c.NetworkPolicies, parse[networkingv1.NetworkPolicy](t, string(object)))
	case "ClusterNetworkPolicy":
		c.ClusterPolicies = append(c.ClusterPolicies, parse[packets.ClusterPolicy](t, string(object)))
	case "GlobalNetworkPolicy":
		c.CalicoPolicies = append(c.CalicoPolicies, globalPolicy(t, object))
	default:
		t.Fatalf("nothing here enforces a %s: %s", kind, object)
	}
}

// globalPolicy reads a policy of Calico that is about pods with a label, and about all of their traffic.
func globalPolicy(t *testing.T, object isolation.Object) packets.CalicoPolicy {
	t.Helper()
	type rule struct {
		Action string `json:"action"`
	}
	read := parse[struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Spec            struct {
			Tier     string                    `json:"tier"`
			Order    float64                   `json:"order"`
			Selector string                    `json:"selector"`
			Types    []networkingv1.PolicyType `json:"types"`
			Ingress  []rule                    `json:"ingress"`
			Egress   []rule                    `json:"egress"`
		} `json:"spec"`
	}](t, string(object))
	label, ok := strings.CutPrefix(strings.TrimSuffix(read.Spec.Selector, ")"), "has(")
	if !ok {
		t.Fatalf("the selector %q is not has(LABEL), which is all that is known here", read.Spec.Selector)
	}
	policy := packets.CalicoPolicy{
		Name: read.Metadata.Name, Tier: read.Spec.Tier, Order: &read.Spec.Order, Types: read.Spec.Types,
		Pods: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: label, Operator: metav1.LabelSelectorOpExists}}},
	}
	for _, one := range read.Spec.Ingress {
		policy.Ingress = append(policy.Ingress, packets.CalicoRule{Action: one.Action})
	}
	for _, one := range read.Spec.Egress {
		policy.Egress = append(policy.Egress, packets.CalicoRule{Action: one.Action})
	}
	return policy
}

func describe(t *testing.T, c *packets.Cluster) string {
	t.Helper()
	var text strings.Builder
	for _, policy := range c.NetworkPolicies {
		fmt.Fprintf(&text, "%s\n", manifest(t, policy))
	}
	for _, policy := range c.ClusterPolicies {
		fmt.Fprintf(&text, "%s\n", manifest(t, policy))
	}
	for _, policy := range c.CalicoPolicies {
		fmt.Fprintf(&text, "%s\n", manifest(t, policy.Manifest()))
	}
	return text.String()
}
