package isolation

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// clusterPolicySpec is the specification of a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2 and v1beta1, which have the same fields) and
// of its predecessors AdminNetworkPolicy and BaselineAdminNetworkPolicy (v1alpha1), which have ports in place of protocols and no tier.
type clusterPolicySpec struct {
	Tier     string              `json:"tier"`
	Priority *int32              `json:"priority"`
	Subject  clusterPeer         `json:"subject"`
	Ingress  []clusterPolicyRule `json:"ingress"`
	Egress   []clusterPolicyRule `json:"egress"`
}

type clusterPolicyRule struct {
	Name      string            `json:"name"`
	Action    string            `json:"action"`
	From      []clusterPeer     `json:"from"`
	To        []clusterPeer     `json:"to"`
	Protocols []clusterProtocol `json:"protocols"`
	Ports     *[]clusterPort    `json:"ports"`
}

// clusterPeer has exactly one field.
type clusterPeer struct {
	Namespaces  *metav1.LabelSelector `json:"namespaces"`
	Pods        *namespacedPods       `json:"pods"`
	Nodes       *metav1.LabelSelector `json:"nodes"`
	Networks    []string              `json:"networks"`
	DomainNames []string              `json:"domainNames"`
}

type namespacedPods struct {
	NamespaceSelector metav1.LabelSelector `json:"namespaceSelector"`
	PodSelector       metav1.LabelSelector `json:"podSelector"`
}

// clusterProtocol has exactly one field.
type clusterProtocol struct {
	TCP                  *clusterDestination `json:"tcp"`
	UDP                  *clusterDestination `json:"udp"`
	SCTP                 *clusterDestination `json:"sctp"`
	DestinationNamedPort string              `json:"destinationNamedPort"`
}

type clusterDestination struct {
	DestinationPort *struct {
		Number int32 `json:"number"`
		Range  *struct {
			Start int32 `json:"start"`
			End   int32 `json:"end"`
		} `json:"range"`
	} `json:"destinationPort"`
}

// clusterPort is that of v1alpha1, and has exactly one field.
type clusterPort struct {
	PortNumber *struct {
		Protocol string `json:"protocol"`
		Port     int32  `json:"port"`
	} `json:"portNumber"`
	NamedPort *string `json:"namedPort"`
	PortRange *struct {
		Protocol string `json:"protocol"`
		Start    int32  `json:"start"`
		End      int32  `json:"end"`
	} `json:"portRange"`
}

// The tiers of ClusterNetworkPolicies; those of v1alpha1 stand in the same places.
const (
	adminTier    = "Admin"
	baselineTier = "Baseline"
)

// beforeAll is the order of a policy whose place is not understood.
const beforeAll = -1

// compileClusterPolicy is a policy of policy.networking.k8s.io. Its rules are asked in order; what none matches goes on to the next
// policy, and what is passed to the next tier.
func compileClusterPolicy(h *header) *policy {
	p := &policy{kind: h.Kind, name: h.Metadata.Name, api: AdminNetworkPolicy, tier: adminTier, order: beforeAll}
	if h.Kind == "ClusterNetworkPolicy" {
		p.api = ClusterNetworkPolicy
	}
	var spec clusterPolicySpec
	unknown, err := strictly(h.Spec, &spec)
	if err != nil {
		p.notUnderstood(err.Error())
		return p
	}
	subjects, vague := spec.Subject.subjects()
	p.subjects = subjects
	if vague == "" {
		vague = unknown
	}
	switch {
	case h.Kind == "BaselineAdminNetworkPolicy":
		p.tier, p.place = baselineTier, "the baseline"
	case h.Kind == "ClusterNetworkPolicy" && spec.Tier != adminTier && spec.Tier != baselineTier:
		vague = fmt.Sprintf("the tier %q is not known", spec.Tier)
	case spec.Priority == nil:
		vague = "it has no priority"
	case h.Kind == "ClusterNetworkPolicy":
		p.tier, p.order = spec.Tier, float64(*spec.Priority)
		p.place = fmt.Sprintf("tier %s, priority %d", spec.Tier, *spec.Priority)
	default:
		p.order, p.place = float64(*spec.Priority), fmt.Sprintf("priority %d", *spec.Priority)
	}
	for d, rules := range [directions][]clusterPolicyRule{spec.Ingress, spec.Egress} {
		p.about[d] = len(rules) > 0
		for i := range rules {
			p.rules[d] = append(p.rules[d], rules[i].compile(direction(d), fmt.Sprintf("spec.%s[%d]", direction(d), i)))
		}
	}
	if vague != "" {
		p.notUnderstood(vague)
	}
	return p
}

// subjects are the pods that a subject selects. A subject in a form that is not known may be anybody.
func (c *clusterPeer) subjects() (condition, string) {
	if c.fields() != 1 || c.Nodes != nil || c.Networks != nil || c.DomainNames != nil {
		return condition{}, "its subject is in a form that is not known"
	}
	return c.pods(), ""
}

func (c *clusterPeer) fields() int {
	count := 0
	for _, set := range []bool{c.Namespaces != nil, c.Pods != nil, c.Nodes != nil, c.Networks != nil, c.DomainNames != nil} {
		if set {
			count++
		}
	}
	return count
}

func (c *clusterPeer) pods() condition {
	if c.Namespaces != nil {
		return selector(c.Namespaces, namespaceLabel)
	}
	return and(selector(&c.Pods.NamespaceSelector, namespaceLabel), selector(&c.Pods.PodSelector, podLabel))
}

func (r *clusterPolicyRule) compile(d direction, path string) rule {
	actions := map[string]action{"Accept": accept, "Allow": accept, "Deny": deny, "Pass": pass}
	act, known := actions[r.Action]
	if !known {
		return rule{action: accept, peers: everybody(), ports: everyPort(), vague: fmt.Sprintf("%s: the action %q is not known", path, r.Action)}
	}
	compiled := rule{action: act, peers: peers{netsOfPods: true}}
	list := r.From
	if d == egress {
		list = r.To
	}
	if len(r.From)+len(r.To) != len(list) || len(list) == 0 {
		compiled.vague, compiled.peers = path+" has no peers in a form that is known", everybody()
	}
	for i := range list {
		if why := compiled.peers.addClusterPeer(&list[i]); why != "" {
			compiled.vague = fmt.Sprintf("%s, peer %d: %s", path, i, why)
		}
	}
	compiled.peers.nets = compiled.peers.nets.normal()
	if why := compiled.addClusterPorts(r); why != "" {
		compiled.vague, compiled.ports = path+": "+why, everyPort()
	}
	return compiled
}

// addClusterPeer adds a peer, and says why it may be less than what was added.
func (p *peers) addClusterPeer(c *clusterPeer) string {
	switch {
	case c.fields() != 1:
		*p = everybody()
		return "it is in a form that is not known"
	case c.Networks != nil:
		nets, err := parseAddresses(c.Networks, nil)
		if err != nil {
			*p = everybody()
			return err.Error()
		}
		p.nets = append(p.nets, nets...)
	case c.Nodes != nil && len(c.Nodes.MatchLabels)+len(c.Nodes.MatchExpressions) == 0:
		p.nodes = always
	case c.Nodes != nil:
		p.nodes = always
		return "which nodes have the labels is not known"
	case c.DomainNames != nil:
		p.nets = everywhere()
		return "the addresses of " + strings.Join(c.DomainNames, ", ") + " are not known"
	default:
		p.pods = append(p.pods, c.pods())
	}
	return ""
}

func (r *rule) addClusterPorts(c *clusterPolicyRule) string {
	switch {
	case len(c.Protocols) == 0 && c.Ports == nil:
		r.ports = everyPort()
		return ""
	case len(c.Protocols) > 0 && c.Ports != nil:
		return "it has protocols and ports"
	case c.Ports != nil && len(*c.Ports) == 0:
		return "its list of ports is empty"
	case c.Ports != nil:
		for _, port := range *c.Ports {
			if why := r.addClusterPort(&port); why != "" {
				return why
			}
		}
		return ""
	}
	for _, protocol := range c.Protocols {
		if why := r.addClusterProtocol(&protocol); why != "" {
			return why
		}
	}
	return ""
}

func (r *rule) addClusterProtocol(c *clusterProtocol) string {
	fields := 0
	for p, to := range map[protocol]*clusterDestination{tcp: c.TCP, udp: c.UDP, sctp: c.SCTP} {
		if to == nil {
			continue
		}
		fields++
		switch port := to.DestinationPort; {
		case port == nil:
			r.ports = r.ports.union(portsOf(p, allPorts.first, allPorts.last))
		case port.Range != nil && port.Number == 0:
			r.ports = r.ports.union(portsOf(p, port.Range.Start, port.Range.End))
		case port.Range == nil && port.Number != 0:
			r.ports = r.ports.union(portsOf(p, port.Number, port.Number))
		default:
			return "a destination port is in a form that is not known"
		}
	}
	if c.DestinationNamedPort != "" {
		fields++
		r.named = append(r.named, namedPort{c.DestinationNamedPort, anyProtocol})
	}
	if fields != 1 {
		return "a protocol is in a form that is not known"
	}
	return ""
}

func (r *rule) addClusterPort(c *clusterPort) string {
	name, first, last := "", int32(0), int32(0)
	switch {
	case c.NamedPort != nil && c.PortNumber == nil && c.PortRange == nil:
		r.named = append(r.named, namedPort{*c.NamedPort, anyProtocol})
		return ""
	case c.PortNumber != nil && c.NamedPort == nil && c.PortRange == nil:
		name, first, last = c.PortNumber.Protocol, c.PortNumber.Port, c.PortNumber.Port
	case c.PortRange != nil && c.NamedPort == nil && c.PortNumber == nil:
		name, first, last = c.PortRange.Protocol, c.PortRange.Start, c.PortRange.End
	default:
		return "a port is in a form that is not known"
	}
	p, ok := parseProtocol(name)
	if !ok {
		return fmt.Sprintf("the protocol %q is not known", name)
	}
	r.ports = r.ports.union(portsOf(p, first, last))
	return ""
}
