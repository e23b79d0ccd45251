package isolation_test

import (
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/test/packets"
)

// generate makes a set of policies about the pods of the site, of the kinds that a provider enforces. They are about few
// labels and ports, so that they meet.
func (s *site) generate(random *rand.Rand, cni isolation.CNI) *packets.Cluster {
	c := &packets.Cluster{Pods: s.pods, Namespaces: s.namespaces}
	g := generator{random}
	for i := range random.IntN(4) {
		c.NetworkPolicies = append(c.NetworkPolicies, g.networkPolicy(i))
	}
	// Orders and priorities are all different: among equal ones anything may come first.
	orders := random.Perm(20)
	if cni == isolation.Calico {
		c.CalicoTiers = []packets.CalicoTier{{Name: "security", Order: 100}, {Name: "last", Order: 2_000_000}}
		for i, order := range orders[:1+random.IntN(3)] {
			c.CalicoPolicies = append(c.CalicoPolicies, g.calicoPolicy(i, order))
		}
		return c
	}
	for i, priority := range orders[:random.IntN(4)] {
		c.ClusterPolicies = append(c.ClusterPolicies, g.clusterPolicy(i, int32(priority)))
	}
	return c
}

type generator struct{ *rand.Rand }

func (g generator) often() bool { return g.IntN(3) > 0 }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) networkPolicy(number int) networkingv1.NetworkPolicy {
	policy := networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Namespace: pick(g, "x", "y", "z"), Name: fmt.Sprint("policy-", number)},
	}
	policy.Spec.PodSelector = g.podSelector()
	policy.Spec.PolicyTypes = pick(g, nil, []networkingv1.PolicyType{"Ingress"}, []networkingv1.PolicyType{"Egress"}, []networkingv1.PolicyType{"Ingress", "Egress"})
	for range g.IntN(3) {
		policy.Spec.Ingress = append(policy.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: g.peers(), Ports: g.ports()})
	}
	for range g.IntN(3) {
		policy.Spec.Egress = append(policy.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: g.peers(), Ports: g.ports()})
	}
	return policy
}

func (g generator) podSelector() metav1.LabelSelector {
	return pick(g,
		metav1.LabelSelector{},
		metav1.LabelSelector{MatchLabels: map[string]string{"app": pick(g, "web", "db")}},
		metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpExists}}},
		metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpDoesNotExist}}},
		metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"db"}}}},
	)
}

func (g generator) namespaceSelector() metav1.LabelSelector {
	return pick(g,
		metav1.LabelSelector{},
		metav1.LabelSelector{MatchLabels: map[string]string{"team": pick(g, "red", "blue")}},
		metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: pick(g, "x", "y", "z")}},
		metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"red"}}}},
	)
}

// block is a block of addresses: all, those of one namespace or pod, or those outside, with exceptions.
func (g generator) block() *networkingv1.IPBlock {
	return pick(g,
		&networkingv1.IPBlock{CIDR: "0.0.0.0/0"},
		&networkingv1.IPBlock{CIDR: "::/0", Except: []string{"fd00:99::/64"}},
		&networkingv1.IPBlock{CIDR: "10.99.0.0/24"},
		&networkingv1.IPBlock{CIDR: "10.99.0.0/16", Except: []string{"10.99.1.4/32", "10.99.0.0/24"}},
		&networkingv1.IPBlock{CIDR: "203.0.113.0/24"},
		&networkingv1.IPBlock{CIDR: "fd00:99::1:0/112"},
	)
}

func (g generator) peers() []networkingv1.NetworkPolicyPeer {
	var peers []networkingv1.NetworkPolicyPeer
	for range g.IntN(3) {
		pods, namespaces := g.podSelector(), g.namespaceSelector()
		peers = append(peers, pick(g,
			networkingv1.NetworkPolicyPeer{PodSelector: &pods},
			networkingv1.NetworkPolicyPeer{NamespaceSelector: &namespaces},
			networkingv1.NetworkPolicyPeer{PodSelector: &pods, NamespaceSelector: &namespaces},
			networkingv1.NetworkPolicyPeer{IPBlock: g.block()}))
	}
	return peers
}

func (g generator) ports() []networkingv1.NetworkPolicyPort {
	var ports []networkingv1.NetworkPolicyPort
	for range g.IntN(3) {
		protocol := pick(g, nil, new(corev1.ProtocolTCP), new(corev1.ProtocolUDP), new(corev1.ProtocolSCTP))
		port := networkingv1.NetworkPolicyPort{Protocol: protocol}
		switch g.IntN(4) {
		case 0:
		case 1:
			port.Port = new(intstr.FromString(pick(g, "http", "dns", "nobody-has-it")))
		case 2:
			port.Port = new(intstr.FromInt32(pick(g, int32(80), int32(81))))
		case 3:
			port.Port, port.EndPort = new(intstr.FromInt32(pick(g, int32(79), int32(81)))), new(int32(pick(g, 81, 90)))
		}
		ports = append(ports, port)
	}
	return ports
}

func (g generator) clusterPolicy(number int, priority int32) packets.ClusterPolicy {
	policy := packets.ClusterPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy.networking.k8s.io/v1alpha2", Kind: "ClusterNetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("tier-", number)},
	}
	policy.Spec.Tier, policy.Spec.Priority, policy.Spec.Subject = pick(g, "Admin", "Baseline"), priority, g.clusterPeer()
	for range g.IntN(3) {
		policy.Spec.Ingress = append(policy.Spec.Ingress, packets.ClusterRule{Action: g.action(), From: []packets.ClusterPeer{g.clusterPeer()}, Protocols: g.protocols(true)})
	}
	for range g.IntN(3) {
		rule := packets.ClusterRule{Action: g.action(), To: []packets.ClusterPeer{g.clusterPeer()}, Protocols: g.protocols(true)}
		if !g.often() {
			// Names of ports are refused together with networks.
			rule.To, rule.Protocols = []packets.ClusterPeer{{Networks: []string{g.block().CIDR}}}, g.protocols(false)
		}
		policy.Spec.Egress = append(policy.Spec.Egress, rule)
	}
	return policy
}

func (g generator) action() string { return pick(g, "Accept", "Deny", "Pass") }

func (g generator) clusterPeer() packets.ClusterPeer {
	namespaces := g.namespaceSelector()
	if g.often() {
		return packets.ClusterPeer{Namespaces: &namespaces}
	}
	var peer packets.ClusterPeer
	peer.Pods = &packets.ClusterPods{NamespaceSelector: namespaces, PodSelector: g.podSelector()}
	return peer
}

func (g generator) protocols(named bool) []packets.ClusterProtocol {
	if g.often() {
		return nil
	}
	ports := pick(g,
		&packets.ClusterPorts{},
		&packets.ClusterPorts{DestinationPort: &packets.ClusterPort{Number: 80}},
		&packets.ClusterPorts{DestinationPort: &packets.ClusterPort{Range: &packets.ClusterRange{Start: 80, End: 90}}})
	of := []packets.ClusterProtocol{{TCP: ports}, {UDP: ports}, {SCTP: ports}}
	if named {
		of = append(of, packets.ClusterProtocol{DestinationNamedPort: pick(g, "http", "dns")})
	}
	return []packets.ClusterProtocol{pick(g, of...)}
}

func (g generator) calicoPolicy(number, order int) packets.CalicoPolicy {
	policy := packets.CalicoPolicy{Name: fmt.Sprint("calico-", number), Namespace: pick(g, "", "", "x", "y"), Tier: pick(g, "", "security", "last")}
	if number > 0 || g.often() { // one without an order comes last; among several anything may
		// Kubernetes' policies stand at 1000 in the default tier.
		policy.Order = new(pick(g, 1.0, 1001.0) + float64(order))
	}
	if g.often() {
		policy.Pods = new(g.podSelector())
	}
	if policy.Namespace == "" && !g.often() {
		policy.Namespaces = new(g.namespaceSelector())
	}
	policy.Types = pick(g, nil, []networkingv1.PolicyType{"Ingress"}, []networkingv1.PolicyType{"Egress"}, []networkingv1.PolicyType{"Ingress", "Egress"})
	for range g.IntN(4) {
		policy.Ingress = append(policy.Ingress, g.calicoRule())
	}
	for range g.IntN(4) {
		policy.Egress = append(policy.Egress, g.calicoRule())
	}
	return policy
}

func (g generator) calicoRule() packets.CalicoRule {
	rule := packets.CalicoRule{Action: pick(g, "Allow", "Allow", "Deny", "Pass", "Log")}
	switch g.IntN(5) {
	case 0:
	case 1:
		rule.Pods = new(g.podSelector())
	case 2:
		rule.Namespaces = new(g.namespaceSelector())
	case 3:
		rule.Pods, rule.Namespaces = new(g.podSelector()), new(g.namespaceSelector())
		if !g.often() {
			rule.Nets = []string{"10.99.0.0/24", "fd00:99::/112"}
		}
	case 4:
		block := g.block()
		rule.Nets, rule.NotNets = []string{block.CIDR}, block.Except
	}
	if g.often() {
		return rule
	}
	rule.Protocol = pick(g, packets.Protocols...)
	// Names are resolved in the pods that a rule selects, which is why they need one.
	named := packets.CalicoPort{Name: "http"}
	if rule.Pods == nil && rule.Namespaces == nil {
		named = packets.CalicoPort{First: 81, Last: 81}
	}
	rule.Ports = pick(g, nil, []packets.CalicoPort{{First: 80, Last: 80}}, []packets.CalicoPort{{First: 80, Last: 90}}, []packets.CalicoPort{named})
	return rule
}
