package packets

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Cluster is all that decides about packets.
type Cluster struct {
	Pods            []corev1.Pod
	Namespaces      []corev1.Namespace
	NetworkPolicies []networkingv1.NetworkPolicy
	ClusterPolicies []ClusterPolicy
	// CalicoPolicies and CalicoTiers are of Calico, which has Kubernetes' policies in a tier of its own. They are not
	// for use together with ClusterPolicies.
	CalicoPolicies []CalicoPolicy
	CalicoTiers    []CalicoTier
	// Node are the addresses of the pods' node, which no policy holds up (Kubernetes,
	// "Network Policies": traffic to and from the node where a pod runs is always allowed).
	Node []netip.Addr
}

// direction is from a pod's point of view.
type direction struct {
	name, hook string
	// peer is which address of a packet is the other side's.
	peer       string
	policyType networkingv1.PolicyType
}

var (
	ingress = direction{name: "ingress", hook: "input", peer: "saddr", policyType: networkingv1.PolicyTypeIngress}
	egress  = direction{name: "egress", hook: "output", peer: "daddr", policyType: networkingv1.PolicyTypeEgress}
)

// table is the one table of the rules. It is named twice before it is filled, so that it
// is there when it is deleted, and everything happens at once.
const table = "inet network-policies"

// Rules are what the policies mean for a pod, in nftables' language.
func (c *Cluster) Rules(pod *corev1.Pod) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "table %[1]s\ndelete table %[1]s\ntable %[1]s {\n", table)
	for _, d := range []direction{ingress, egress} {
		if err := c.writeDirection(&text, d, pod); err != nil {
			return "", fmt.Errorf("making the %s rules of %s/%s: %w", d.name, pod.Namespace, pod.Name, err)
		}
	}
	text.WriteString("}\n")
	return text.String(), nil
}

// chain is one tier. What leaves it without a verdict comes to the next.
type chain struct {
	name  string
	rules []string
}

func (c *Cluster) writeDirection(text *strings.Builder, d direction, pod *corev1.Pod) error {
	tiers := c.kubernetesChains
	if len(c.CalicoPolicies) > 0 {
		tiers = c.calicoChains
	}
	chains, err := tiers(d, pod)
	if err != nil {
		return err
	}
	for _, chain := range chains {
		fmt.Fprintf(text, "\tchain %s-%s {\n\t\t%s\n\t}\n", d.name, chain.name, strings.Join(chain.rules, "\n\t\t"))
	}
	fmt.Fprintf(text, "\tchain %s {\n\t\ttype filter hook %s priority 0; policy accept;\n", d.name, d.hook)
	for _, rule := range c.always(d) {
		fmt.Fprintf(text, "\t\t%s\n", rule)
	}
	for _, chain := range chains {
		fmt.Fprintf(text, "\t\tjump %s-%s\n", d.name, chain.name)
	}
	text.WriteString("\t}\n")
	return nil
}

// kubernetesChains are the admin tier, what NetworkPolicies allow, and the baseline tier, which is not asked about a pod
// that one of them selects: it gets what is allowed, and no more.
func (c *Cluster) kubernetesChains(d direction, pod *corev1.Pod) ([]chain, error) {
	admin, err := c.tierRules(tierAdmin, d, pod)
	if err != nil {
		return nil, err
	}
	baseline, err := c.tierRules(tierBaseline, d, pod)
	if err != nil {
		return nil, err
	}
	allowed, selected, err := c.networkPolicyRules(d, pod)
	if err != nil {
		return nil, err
	}
	if selected {
		baseline = []string{"counter drop"}
	}
	return []chain{{"admin", admin}, {"allowed", allowed}, {"baseline", baseline}}, nil
}

// always is what no policy holds up: the pod itself, its node, what was let through before,
// and how IPv6 finds neighbours.
func (c *Cluster) always(d direction) []string {
	rules := []string{
		"ct state established,related accept",
		"icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, mld-listener-query, mld-listener-report, mld2-listener-report } accept",
	}
	if d == ingress {
		rules = append(rules, "iifname lo accept")
	} else {
		rules = append(rules, "oifname lo accept")
	}
	for _, address := range c.Node {
		rules = append(rules, fmt.Sprintf("%s %s %s accept", family(address), d.peer, address))
	}
	return rules
}

// networkPolicyRules are what the NetworkPolicies of the pod's namespace allow, and whether
// one of them selects the pod at all.
func (c *Cluster) networkPolicyRules(d direction, pod *corev1.Pod) (rules []string, selected bool, err error) {
	if pod.Spec.HostNetwork {
		return nil, false, nil
	}
	for i := range c.NetworkPolicies {
		policy := &c.NetworkPolicies[i]
		applies, err := appliesTo(policy, d, pod)
		if err != nil {
			return nil, false, fmt.Errorf("NetworkPolicy %s/%s: %w", policy.Namespace, policy.Name, err)
		}
		if !applies {
			continue
		}
		selected = true
		more, err := c.allowRules(policy, d, pod)
		if err != nil {
			return nil, false, fmt.Errorf("NetworkPolicy %s/%s: %w", policy.Namespace, policy.Name, err)
		}
		rules = append(rules, more...)
	}
	return rules, selected, nil
}

func appliesTo(policy *networkingv1.NetworkPolicy, d direction, pod *corev1.Pod) (bool, error) {
	if policy.Namespace != pod.Namespace || !slices.Contains(policyTypes(policy), d.policyType) {
		return false, nil
	}
	return selects(&policy.Spec.PodSelector, pod.Labels)
}

// policyTypes are those that a policy names, or else Ingress, and Egress if it has egress rules.
func policyTypes(policy *networkingv1.NetworkPolicy) []networkingv1.PolicyType {
	if len(policy.Spec.PolicyTypes) > 0 {
		return policy.Spec.PolicyTypes
	}
	if len(policy.Spec.Egress) > 0 {
		return []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	}
	return []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
}

func (c *Cluster) allowRules(policy *networkingv1.NetworkPolicy, d direction, pod *corev1.Pod) ([]string, error) {
	type rule struct {
		peers []networkingv1.NetworkPolicyPeer
		ports []networkingv1.NetworkPolicyPort
	}
	var rules []rule
	if d == ingress {
		for _, r := range policy.Spec.Ingress {
			rules = append(rules, rule{r.From, r.Ports})
		}
	} else {
		for _, r := range policy.Spec.Egress {
			rules = append(rules, rule{r.To, r.Ports})
		}
	}
	var text []string
	for _, r := range rules {
		peers, err := c.networkPolicyPeers(policy.Namespace, r.peers)
		if err != nil {
			return nil, err
		}
		text = append(text, c.render(d, pod, peers, networkPolicyPorts(r.ports), "counter accept")...)
	}
	return text, nil
}

func (c *Cluster) networkPolicyPeers(namespace string, from []networkingv1.NetworkPolicyPeer) ([]peer, error) {
	if len(from) == 0 {
		return []peer{{anybody: true}}, nil
	}
	var peers []peer
	for _, one := range from {
		if one.IPBlock != nil {
			peers = append(peers, peer{block: one.IPBlock.CIDR, except: one.IPBlock.Except})
			continue
		}
		namespaces := one.NamespaceSelector
		if namespaces == nil {
			namespaces = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}}
		}
		pods := one.PodSelector
		if pods == nil {
			pods = &metav1.LabelSelector{}
		}
		found, err := c.podsOf(namespaces, pods)
		if err != nil {
			return nil, err
		}
		peers = append(peers, peer{pods: found})
	}
	return peers, nil
}

// podsOf are the pods that have addresses of their own and match both selectors.
func (c *Cluster) podsOf(namespaces, pods *metav1.LabelSelector) ([]*corev1.Pod, error) {
	var found []*corev1.Pod
	for i := range c.Pods {
		pod := &c.Pods[i]
		if pod.Spec.HostNetwork || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		inNamespace, err := selects(namespaces, c.namespaceLabels(pod.Namespace))
		if err != nil {
			return nil, err
		}
		matching, err := selects(pods, pod.Labels)
		if err != nil {
			return nil, err
		}
		if inNamespace && matching {
			found = append(found, pod)
		}
	}
	return found, nil
}

func (c *Cluster) namespaceLabels(name string) map[string]string {
	for _, namespace := range c.Namespaces {
		if namespace.Name == name {
			return namespace.Labels
		}
	}
	return nil
}

// selects says whether a selector that is there matches. An empty one matches everything.
func selects(selector *metav1.LabelSelector, set map[string]string) (bool, error) {
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return false, err
	}
	return compiled.Matches(labels.Set(set)), nil
}

func networkPolicyPorts(ports []networkingv1.NetworkPolicyPort) []port {
	var found []port
	for _, one := range ports {
		p := port{protocol: corev1.ProtocolTCP}
		if one.Protocol != nil {
			p.protocol = *one.Protocol
		}
		if one.Port != nil {
			p.first, p.name = one.Port.IntVal, one.Port.StrVal
		}
		p.last = p.first
		if one.EndPort != nil {
			p.last = *one.EndPort
		}
		found = append(found, p)
	}
	return found
}
