package isolation

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// compileNetworkPolicy is a NetworkPolicy of networking.k8s.io/v1: what it allows is accepted, and what no policy of the
// direction allows is denied (kubernetes.io/docs/concepts/services-networking/network-policies).
func compileNetworkPolicy(h *header) *policy {
	p := &policy{kind: "NetworkPolicy", name: h.fullName(), api: networkPolicies, subjects: inNamespace(h.Metadata.Namespace), tier: defaultTier, order: networkPolicyOrder}
	var spec networkingv1.NetworkPolicySpec
	unknown, err := strictly(h.Spec, &spec)
	if err != nil {
		p.notUnderstood(err.Error())
		return p
	}
	p.subjects = and(p.subjects, selector(&spec.PodSelector, podLabel))
	p.about = networkPolicyTypes(&spec)
	p.defaultDeny = p.about
	for i, r := range spec.Ingress {
		p.rules[ingress] = append(p.rules[ingress], networkPolicyRule(h, fmt.Sprintf("spec.ingress[%d]", i), r.From, r.Ports))
	}
	for i, r := range spec.Egress {
		p.rules[egress] = append(p.rules[egress], networkPolicyRule(h, fmt.Sprintf("spec.egress[%d]", i), r.To, r.Ports))
	}
	if unknown != "" {
		p.notUnderstood(unknown)
	}
	return p
}

// networkPolicyTypes are the directions that a policy is about: those that it lists; if none, ingress, and egress if it has rules for it.
func networkPolicyTypes(spec *networkingv1.NetworkPolicySpec) [directions]bool {
	if len(spec.PolicyTypes) == 0 {
		return [directions]bool{ingress: true, egress: len(spec.Egress) > 0}
	}
	return [directions]bool{
		ingress: slices.Contains(spec.PolicyTypes, networkingv1.PolicyTypeIngress),
		egress:  slices.Contains(spec.PolicyTypes, networkingv1.PolicyTypeEgress),
	}
}

func networkPolicyRule(h *header, path string, from []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) rule {
	r := rule{action: accept, peers: everybody(), ports: everyPort()}
	if len(from) > 0 {
		r.peers = peers{netsOfPods: true}
	}
	for i, peer := range from {
		if why := r.peers.addNetworkPolicyPeer(h.Metadata.Namespace, &peer); why != "" {
			r.peers, r.vague = everybody(), fmt.Sprintf("%s, peer %d: %s", path, i, why)
			break
		}
	}
	r.peers.nets = r.peers.nets.normal()
	if len(ports) > 0 {
		r.ports = portSet{}
	}
	for i := range ports {
		if why := r.addPort(ports[i].Protocol, ports[i].Port, ports[i].EndPort); why != "" {
			r.ports, r.vague = everyPort(), fmt.Sprintf("%s, port %d: %s", path, i, why)
			break
		}
	}
	r.ports = r.ports.normal()
	return r
}

// addNetworkPolicyPeer adds one peer, whose addresses are put in order later; an empty string says that it was understood.
func (p *peers) addNetworkPolicyPeer(namespace string, peer *networkingv1.NetworkPolicyPeer) string {
	switch {
	case peer.IPBlock != nil && (peer.PodSelector != nil || peer.NamespaceSelector != nil):
		return "it has an ipBlock and a selector"
	case peer.IPBlock != nil:
		nets, err := parseAddresses([]string{peer.IPBlock.CIDR}, peer.IPBlock.Except)
		if err != nil {
			return err.Error()
		}
		p.nets = append(p.nets, nets...)
	case peer.PodSelector == nil && peer.NamespaceSelector == nil:
		return "it has neither a selector nor an ipBlock"
	default:
		where := inNamespace(namespace)
		if peer.NamespaceSelector != nil {
			where = selector(peer.NamespaceSelector, namespaceLabel)
		}
		who := condition{}
		if peer.PodSelector != nil {
			who = selector(peer.PodSelector, podLabel)
		}
		p.pods = append(p.pods, and(where, who))
	}
	return ""
}

// addPort adds a port, which is put in order later, in the form of NetworkPolicyPort: a number, a range, a name, or all of a protocol.
func (r *rule) addPort(name *corev1.Protocol, port *intstr.IntOrString, end *int32) string {
	p := tcp
	if name != nil {
		var ok bool
		if p, ok = parseProtocol(string(*name)); !ok {
			return fmt.Sprintf("the protocol %q is not known", *name)
		}
	}
	switch {
	case port == nil && end != nil:
		return "endPort without port"
	case port == nil:
		r.ports.add(p, allPorts.first, allPorts.last)
	case port.Type == intstr.String && end != nil:
		return "endPort with a named port"
	case port.Type == intstr.String:
		r.named = append(r.named, namedPort{port.StrVal, p})
	case end != nil:
		r.ports.add(p, port.IntVal, *end)
	default:
		r.ports.add(p, port.IntVal, port.IntVal)
	}
	return ""
}
