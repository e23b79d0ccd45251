package packets

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterPolicy is a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) as far as it is enforced here: peers are pods,
// namespaces and networks. What is decoded into it must be decoded strictly, since nodes and domain names are not known.
type ClusterPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		Tier     string        `json:"tier"`
		Priority int32         `json:"priority"`
		Subject  ClusterPeer   `json:"subject"`
		Ingress  []ClusterRule `json:"ingress,omitempty"`
		Egress   []ClusterRule `json:"egress,omitempty"`
	} `json:"spec"`
}

// The tiers: before and after the NetworkPolicies.
const (
	tierAdmin    = "Admin"
	tierBaseline = "Baseline"
)

// ClusterRule is one rule. From is of ingress rules, To of egress rules.
type ClusterRule struct {
	Name      string            `json:"name,omitempty"`
	Action    string            `json:"action"`
	From      []ClusterPeer     `json:"from,omitempty"`
	To        []ClusterPeer     `json:"to,omitempty"`
	Protocols []ClusterProtocol `json:"protocols,omitempty"`
}

// ClusterPeer has one of its fields.
type ClusterPeer struct {
	Namespaces *metav1.LabelSelector `json:"namespaces,omitempty"`
	Pods       *ClusterPods          `json:"pods,omitempty"`
	Networks   []string              `json:"networks,omitempty"`
}

// ClusterPods are pods of namespaces.
type ClusterPods struct {
	NamespaceSelector metav1.LabelSelector `json:"namespaceSelector"`
	PodSelector       metav1.LabelSelector `json:"podSelector"`
}

// ClusterProtocol has one of its fields.
type ClusterProtocol struct {
	TCP                  *ClusterPorts `json:"tcp,omitempty"`
	UDP                  *ClusterPorts `json:"udp,omitempty"`
	SCTP                 *ClusterPorts `json:"sctp,omitempty"`
	DestinationNamedPort string        `json:"destinationNamedPort,omitempty"`
}

// ClusterPorts are a port or a range of them; all without DestinationPort.
type ClusterPorts struct {
	DestinationPort *ClusterPort `json:"destinationPort,omitempty"`
}

// ClusterPort has one of its fields.
type ClusterPort struct {
	Number int32         `json:"number,omitempty"`
	Range  *ClusterRange `json:"range,omitempty"`
}

// ClusterRange includes both ends.
type ClusterRange struct {
	Start int32 `json:"start"`
	End   int32 `json:"end"`
}

// verdicts of the actions. Pass leaves the tier: "Skips all further ClusterNetworkPolicy
// rules in the current tier for the selected traffic, and passes evaluation to the next tier".
var verdicts = map[string]string{"Accept": "counter accept", "Deny": "counter drop", "Pass": "counter return"}

// tierRules are those of a tier for a pod, the lowest priority first.
func (c *Cluster) tierRules(tier string, d direction, pod *corev1.Pod) ([]string, error) {
	policies := slices.Clone(c.ClusterPolicies)
	slices.SortStableFunc(policies, func(a, b ClusterPolicy) int { return cmp.Compare(a.Spec.Priority, b.Spec.Priority) })
	var lines []string
	for i := range policies {
		policy := &policies[i]
		if policy.Spec.Tier != tier || pod.Spec.HostNetwork {
			continue
		}
		more, err := c.clusterPolicyRules(policy, d, pod)
		if err != nil {
			return nil, fmt.Errorf("ClusterNetworkPolicy %s: %w", policy.Name, err)
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

func (c *Cluster) clusterPolicyRules(policy *ClusterPolicy, d direction, pod *corev1.Pod) ([]string, error) {
	subjects, err := c.clusterPeer(policy.Spec.Subject)
	if err != nil || !slices.ContainsFunc(subjects.pods, func(one *corev1.Pod) bool { return one.Namespace == pod.Namespace && one.Name == pod.Name }) {
		return nil, err
	}
	rules := policy.Spec.Ingress
	if d == egress {
		rules = policy.Spec.Egress
	}
	var lines []string
	for _, rule := range rules {
		verdict, ok := verdicts[rule.Action]
		if !ok {
			return nil, fmt.Errorf("no action %q is known", rule.Action)
		}
		var peers []peer
		for _, one := range append(slices.Clone(rule.From), rule.To...) {
			if len(one.Networks) > 0 {
				for _, network := range one.Networks {
					peers = append(peers, peer{block: network})
				}
				continue
			}
			peer, err := c.clusterPeer(one)
			if err != nil {
				return nil, err
			}
			peers = append(peers, peer)
		}
		lines = append(lines, c.render(d, pod, peers, clusterPorts(rule.Protocols), verdict)...)
	}
	return lines, nil
}

func (c *Cluster) clusterPeer(one ClusterPeer) (peer, error) {
	namespaces, pods := one.Namespaces, &metav1.LabelSelector{}
	if one.Pods != nil {
		namespaces, pods = &one.Pods.NamespaceSelector, &one.Pods.PodSelector
	}
	if namespaces == nil {
		return peer{}, fmt.Errorf("a peer is neither namespaces nor pods nor networks")
	}
	found, err := c.podsOf(namespaces, pods)
	return peer{pods: found}, err
}

func clusterPorts(protocols []ClusterProtocol) []port {
	var found []port
	add := func(protocol corev1.Protocol, ports *ClusterPorts) {
		if ports == nil {
			return
		}
		p := port{protocol: protocol}
		if to := ports.DestinationPort; to != nil {
			p.first, p.last = to.Number, to.Number
			if to.Range != nil {
				p.first, p.last = to.Range.Start, to.Range.End
			}
		}
		found = append(found, p)
	}
	for _, one := range protocols {
		add(corev1.ProtocolTCP, one.TCP)
		add(corev1.ProtocolUDP, one.UDP)
		add(corev1.ProtocolSCTP, one.SCTP)
		if one.DestinationNamedPort != "" {
			found = append(found, port{name: one.DestinationNamedPort})
		}
	}
	return found
}
