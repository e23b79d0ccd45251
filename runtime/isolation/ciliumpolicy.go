package isolation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ciliumSpec is one rule of a CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy (cilium.io/v2; cilium/cilium, pkg/policy/api).
type ciliumSpec struct {
	EndpointSelector  *metav1.LabelSelector `json:"endpointSelector"`
	NodeSelector      *metav1.LabelSelector `json:"nodeSelector"`
	Ingress           []ciliumRule          `json:"ingress"`
	IngressDeny       []ciliumRule          `json:"ingressDeny"`
	Egress            []ciliumRule          `json:"egress"`
	EgressDeny        []ciliumRule          `json:"egressDeny"`
	EnableDefaultDeny struct {
		Ingress *bool `json:"ingress"`
		Egress  *bool `json:"egress"`
	} `json:"enableDefaultDeny"`
	Labels      json.RawMessage `json:"labels"`
	Description string          `json:"description"`
	Log         json.RawMessage `json:"log"`
}

// ciliumRule is a rule for one direction: the fields of the other one stay empty.
type ciliumRule struct {
	FromEndpoints *[]metav1.LabelSelector `json:"fromEndpoints"`
	FromCIDR      []string                `json:"fromCIDR"`
	FromCIDRSet   []ciliumCIDR            `json:"fromCIDRSet"`
	FromEntities  []string                `json:"fromEntities"`
	FromGroups    []json.RawMessage       `json:"fromGroups"`
	FromNodes     []json.RawMessage       `json:"fromNodes"`
	ToEndpoints   *[]metav1.LabelSelector `json:"toEndpoints"`
	ToCIDR        []string                `json:"toCIDR"`
	ToCIDRSet     []ciliumCIDR            `json:"toCIDRSet"`
	ToEntities    []string                `json:"toEntities"`
	ToGroups      []json.RawMessage       `json:"toGroups"`
	ToNodes       []json.RawMessage       `json:"toNodes"`
	ToServices    []json.RawMessage       `json:"toServices"`
	ToFQDNs       []json.RawMessage       `json:"toFQDNs"`
	ToPorts       []ciliumPorts           `json:"toPorts"`
	ICMPs         []json.RawMessage       `json:"icmps"`
	// Authentication asks for more, so that less is accepted.
	Authentication json.RawMessage `json:"authentication"`
}

type ciliumCIDR struct {
	CIDR              string          `json:"cidr"`
	CIDRGroupRef      string          `json:"cidrGroupRef"`
	CIDRGroupSelector json.RawMessage `json:"cidrGroupSelector"`
	Except            []string        `json:"except"`
}

type ciliumPorts struct {
	Ports []struct {
		Port     string `json:"port"`
		EndPort  int32  `json:"endPort"`
		Protocol string `json:"protocol"`
	} `json:"ports"`
	// What follows asks for more.
	TerminatingTLS json.RawMessage `json:"terminatingTLS"`
	OriginatingTLS json.RawMessage `json:"originatingTLS"`
	ServerNames    json.RawMessage `json:"serverNames"`
	Listener       json.RawMessage `json:"listener"`
	Rules          json.RawMessage `json:"rules"`
}

// compileCilium are the rules of one object: spec and specs. Those about nodes are left out.
func compileCilium(h *header) []*policy {
	specs := h.Specs
	if len(h.Spec) > 0 {
		specs = append([]json.RawMessage{h.Spec}, specs...)
	}
	var all []*policy
	for _, raw := range specs {
		if p := compileCiliumSpec(h, raw); p != nil {
			all = append(all, p)
		}
	}
	return all
}

func compileCiliumSpec(h *header, raw json.RawMessage) *policy {
	p := &policy{kind: h.Kind, name: h.fullName(), api: CiliumClusterwideNetworkPolicy}
	if h.Metadata.Namespace != "" {
		p.subjects = inNamespace(h.Metadata.Namespace)
	}
	var spec ciliumSpec
	unknown, err := strictly(raw, &spec)
	if err != nil {
		p.notUnderstood(err.Error())
		return p
	}
	if spec.EndpointSelector == nil && spec.NodeSelector != nil {
		return nil // a policy of the host firewall
	}
	if spec.EndpointSelector == nil {
		unknown = "it has no endpointSelector"
	} else {
		p.subjects = and(p.subjects, ciliumSelector(spec.EndpointSelector))
	}
	for d, lists := range [directions][2][]ciliumRule{{spec.IngressDeny, spec.Ingress}, {spec.EgressDeny, spec.Egress}} {
		// "If there is a peer selector for that direction, the default is deny" (Rule.Sanitize).
		p.about[d] = len(lists[0])+len(lists[1]) > 0
		p.defaultDeny[d] = p.about[d]
		for i := range lists[0] {
			path := fmt.Sprintf("spec.%sDeny[%d]", direction(d), i)
			p.rules[d] = append(p.rules[d], lists[0][i].compile(deny, h.Metadata.Namespace, path)...)
		}
		for i := range lists[1] {
			path := fmt.Sprintf("spec.%s[%d]", direction(d), i)
			p.rules[d] = append(p.rules[d], lists[1][i].compile(accept, h.Metadata.Namespace, path)...)
		}
	}
	for d, set := range [directions]*bool{spec.EnableDefaultDeny.Ingress, spec.EnableDefaultDeny.Egress} {
		if set != nil {
			p.defaultDeny[d] = *set
			p.about[d] = p.about[d] || *set
		}
	}
	if unknown != "" {
		p.notUnderstood(unknown)
	}
	return p
}

// compile makes no rule of one without peers and ports, which matches nothing: "ingress: [{}]" is Cilium's way to write a default deny.
func (r *ciliumRule) compile(a action, namespace, path string) []rule {
	compiled := rule{action: a}
	someone := r.addPeers(&compiled, namespace)
	compiled.peers.nets = compiled.peers.nets.normal()
	r.addPorts(&compiled)
	if !someone {
		if len(r.ToPorts)+len(r.ICMPs) == 0 {
			return nil
		}
		compiled.peers = everybody()
	}
	if compiled.vague != "" {
		compiled.vague = path + ": " + compiled.vague
	}
	return []rule{compiled}
}

// addPeers adds the peers, and says whether the rule names any.
func (r *ciliumRule) addPeers(compiled *rule, namespace string) bool {
	p := &compiled.peers
	named := false
	for _, list := range []*[]metav1.LabelSelector{r.FromEndpoints, r.ToEndpoints} {
		if list == nil {
			continue
		}
		named = true
		if len(*list) == 0 {
			// Nobody, since v1.15; everybody before.
			*p, compiled.vague = everybody(), "an empty list of endpoints is everybody in some versions"
		}
		for i := range *list {
			condition, reserved := ciliumEndpoints(&(*list)[i], namespace)
			if reserved {
				*p, compiled.vague = everybody(), "a selector is about reserved labels"
				continue
			}
			p.pods = append(p.pods, condition)
		}
	}
	for _, text := range slices.Concat(r.FromCIDR, r.ToCIDR) {
		named = true
		compiled.addCiliumCIDR(ciliumCIDR{CIDR: text})
	}
	for _, set := range slices.Concat(r.FromCIDRSet, r.ToCIDRSet) {
		named = true
		compiled.addCiliumCIDR(set)
	}
	for _, entity := range slices.Concat(r.FromEntities, r.ToEntities) {
		named = true
		compiled.addCiliumEntity(entity)
	}
	for why, list := range map[string][]json.RawMessage{
		"the addresses of toFQDNs are not known": r.ToFQDNs, "the addresses of groups are not known": slices.Concat(r.FromGroups, r.ToGroups),
	} {
		if len(list) > 0 {
			named = true
			p.nets, compiled.vague = everywhere(), why
		}
	}
	if len(r.FromNodes)+len(r.ToNodes) > 0 {
		named = true
		p.nodes, compiled.vague = always, "which nodes have the labels is not known"
	}
	if len(r.ToServices) > 0 {
		named = true
		*p, compiled.vague = everybody(), "what stands behind toServices is not known"
	}
	return named
}

func (r *rule) addCiliumCIDR(set ciliumCIDR) {
	if set.CIDRGroupRef != "" || len(set.CIDRGroupSelector) > 0 {
		r.peers.nets, r.vague = everywhere(), "the addresses of a CIDR group are not known"
		return
	}
	nets, err := parseAddresses([]string{set.CIDR}, set.Except)
	if err != nil {
		r.peers.nets, r.vague = everywhere(), err.Error()
		return
	}
	r.peers.nets = append(r.peers.nets, nets...)
}

// addCiliumEntity adds an entity (docs.cilium.io, "Entities Based"). The pod's own node is not among what a proof is about.
func (r *rule) addCiliumEntity(entity string) {
	p := &r.peers
	switch entity {
	case "all":
		*p = everybody()
	case "world":
		p.nets = everywhere()
	case "world-ipv4":
		p.nets = p.nets.union(everywhere()[:1])
	case "world-ipv6":
		p.nets = p.nets.union(everywhere()[1:])
	case "cluster":
		p.pods = append(p.pods, condition{})
		p.nodes = always
		p.entities = append(p.entities, "init", "ingress", "health", "unmanaged", "kube-apiserver")
	case "remote-node":
		p.nodes = always
	case "init", "ingress", "health", "unmanaged", "kube-apiserver":
		p.entities = append(p.entities, entity)
	case "host", "none":
	default:
		*p, r.vague = everybody(), fmt.Sprintf("the entity %q is not known", entity)
	}
}

func (r *ciliumRule) addPorts(compiled *rule) {
	switch {
	case len(r.ICMPs) > 0:
		compiled.ports = portsOf(otherProtocols, allPorts.first, allPorts.last)
		compiled.vague = "only some types of ICMP"
	case len(r.ToPorts) == 0:
		compiled.ports = everyPort()
	}
	for _, list := range r.ToPorts {
		if len(list.Ports) == 0 {
			compiled.ports = everyPort()
		}
		for _, port := range list.Ports {
			if why := compiled.addCiliumPort(port.Port, port.EndPort, port.Protocol); why != "" {
				compiled.ports, compiled.vague = everyPort(), why
			}
		}
		if len(list.Rules)+len(list.Listener)+len(list.ServerNames)+len(list.TerminatingTLS)+len(list.OriginatingTLS) > 0 {
			compiled.vague = "it depends on what is sent"
		}
	}
	if len(r.Authentication) > 0 {
		compiled.vague = "it depends on authentication"
	}
}

func (r *rule) addCiliumPort(port string, end int32, protocolName string) string {
	list := []protocol{tcp, udp, sctp}
	if !strings.EqualFold(protocolName, "ANY") && protocolName != "" {
		p, ok := parseProtocol(protocolName)
		if !ok {
			return fmt.Sprintf("the protocol %q is not known", protocolName)
		}
		list = []protocol{p}
	}
	number, err := strconv.ParseUint(port, 0, 16)
	for _, p := range list {
		switch {
		case err != nil && end == 0 && port != "":
			r.named = append(r.named, namedPort{port, p})
		case err != nil:
			return fmt.Sprintf("the port %q is not understood", port)
		case number == 0:
			r.ports = r.ports.union(portsOf(p, allPorts.first, allPorts.last))
		default:
			r.ports = r.ports.union(portsOf(p, int32(number), max(int32(number), end)))
		}
	}
	return ""
}

// The labels by which Cilium knows what is not a label of the pod (pkg/k8s/apis/cilium.io/const.go).
const (
	ciliumNamespaceKey      = "io.kubernetes.pod.namespace"
	ciliumNamespaceLabels   = "io.cilium.k8s.namespace.labels."
	ciliumServiceAccountKey = "io.cilium.k8s.policy.serviceaccount"
	ciliumClusterKey        = "io.cilium.k8s.policy.cluster"
)

// ciliumEndpoints is a selector of peers. In a policy of a namespace it is about that namespace, unless it says another one; reserved
// says that it is about labels that only Cilium gives.
func ciliumEndpoints(s *metav1.LabelSelector, namespace string) (c condition, reserved bool) {
	elsewhere := false
	for _, key := range ciliumKeys(s) {
		source, name := ciliumKey(key)
		elsewhere = elsewhere || name == ciliumNamespaceKey || strings.HasPrefix(name, ciliumNamespaceLabels)
		reserved = reserved || source == "reserved"
	}
	c = ciliumSelector(s)
	if namespace != "" && !elsewhere {
		c = and(inNamespace(namespace), c)
	}
	return c, reserved
}

func ciliumKeys(s *metav1.LabelSelector) []string {
	var keys []string
	for key := range s.MatchLabels {
		keys = append(keys, key)
	}
	for _, r := range s.MatchExpressions {
		keys = append(keys, r.Key)
	}
	return keys
}

// ciliumKey takes a key apart: "k8s:app" is the label app from Kubernetes.
func ciliumKey(key string) (source, name string) {
	before, after, found := strings.Cut(key, ":")
	if !found {
		return "any", key
	}
	return before, after
}

// ciliumSelector is a selector over the labels of an identity. What it asks of a source other than Kubernetes is not known.
func ciliumSelector(s *metav1.LabelSelector) condition {
	parts := selector(s, podLabel)
	if parts.op != opAnd {
		parts = condition{op: opAnd, parts: []condition{parts}}
	}
	translated := make([]condition, 0, len(parts.parts))
	for _, part := range parts.parts {
		source, name := ciliumKey(part.on.name)
		switch {
		case part.op == opUnknown || part.op == opUnknownNot:
		case source != "any" && source != "k8s", name == ciliumClusterKey:
			part = unknown(part.words())
		case name == ciliumNamespaceKey:
			part.on = attribute{namespaceLabel, namespaceName}
		case strings.HasPrefix(name, ciliumNamespaceLabels):
			part.on = attribute{namespaceLabel, strings.TrimPrefix(name, ciliumNamespaceLabels)}
		case name == ciliumServiceAccountKey:
			part.on = attribute{domain: serviceAccountName}
		default:
			part.on.name = name
		}
		translated = append(translated, part)
	}
	return and(translated...)
}
