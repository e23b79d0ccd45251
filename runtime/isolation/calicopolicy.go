package isolation

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// calicoSpec is the specification of Calico's NetworkPolicy and GlobalNetworkPolicy (projectcalico.org/v3).
type calicoSpec struct {
	Tier                   string          `json:"tier"`
	Order                  *float64        `json:"order"`
	Ingress                []calicoRule    `json:"ingress"`
	Egress                 []calicoRule    `json:"egress"`
	Selector               string          `json:"selector"`
	NamespaceSelector      string          `json:"namespaceSelector"`
	ServiceAccountSelector string          `json:"serviceAccountSelector"`
	Types                  []string        `json:"types"`
	DoNotTrack             bool            `json:"doNotTrack"`
	PreDNAT                bool            `json:"preDNAT"`
	ApplyOnForward         bool            `json:"applyOnForward"`
	PerformanceHints       json.RawMessage `json:"performanceHints"`
}

type calicoRule struct {
	Action      string          `json:"action"`
	IPVersion   *int            `json:"ipVersion"`
	Protocol    json.RawMessage `json:"protocol"`
	NotProtocol json.RawMessage `json:"notProtocol"`
	ICMP        json.RawMessage `json:"icmp"`
	NotICMP     json.RawMessage `json:"notICMP"`
	HTTP        json.RawMessage `json:"http"`
	Source      calicoEntity    `json:"source"`
	Destination calicoEntity    `json:"destination"`
	Metadata    json.RawMessage `json:"metadata"`
}

type calicoEntity struct {
	Nets              []string          `json:"nets"`
	NotNets           []string          `json:"notNets"`
	Selector          string            `json:"selector"`
	NotSelector       string            `json:"notSelector"`
	NamespaceSelector string            `json:"namespaceSelector"`
	Ports             []json.RawMessage `json:"ports"`
	NotPorts          []json.RawMessage `json:"notPorts"`
	Services          json.RawMessage   `json:"services"`
	ServiceAccounts   *struct {
		Names    []string `json:"names"`
		Selector string   `json:"selector"`
	} `json:"serviceAccounts"`
}

// calicoTier is a Tier: policies of an earlier one come first. What none of the policies of a tier that are about a pod matches is
// denied, or passed, as the tier says.
type calicoTier struct {
	name  string
	order float64
	pass  bool
}

// The tier of NetworkPolicies and of policies that name none, and the order of NetworkPolicies in it (docs.tigera.io, "Get started with tiered
// policy"; libcalico-go, lib/backend/k8s/conversion).
const (
	defaultTier        = "default"
	networkPolicyOrder = 1000
)

// calicoTiers are those that Calico makes itself, with the names that they had in earlier versions.
func calicoTiers() []calicoTier {
	return []calicoTier{
		{"kube-admin", 1_000, true}, {"adminnetworkpolicy", 1_000, true},
		{defaultTier, 1_000_000, false},
		{"kube-baseline", 10_000_000, true}, {"baselineadminnetworkpolicy", 10_000_000, true},
	}
}

func compileCalicoTier(h *header) (calicoTier, error) {
	var spec struct {
		Order         *float64 `json:"order"`
		DefaultAction string   `json:"defaultAction"`
	}
	unknown, err := strictly(h.Spec, &spec)
	if err == nil && unknown != "" {
		err = fmt.Errorf("%s", unknown)
	}
	if err != nil {
		return calicoTier{}, fmt.Errorf("decoding the Tier %s: %w", h.Metadata.Name, err)
	}
	return calicoTier{h.Metadata.Name, orLast(spec.Order), strings.EqualFold(spec.DefaultAction, "Pass")}, nil
}

// orLast is an order; one that is not given comes last.
func orLast(order *float64) float64 {
	if order == nil {
		return math.Inf(1)
	}
	return *order
}

// networkSet is a NetworkSet or GlobalNetworkSet: addresses with labels, which selectors of rules select like pods.
type networkSet struct {
	namespace string
	labels    map[string]string
	nets      addresses
	vague     bool // nets is more than there may be
}

func compileNetworkSet(h *header) networkSet {
	set := networkSet{namespace: h.Metadata.Namespace, labels: h.Metadata.Labels}
	var spec struct {
		Nets           []string `json:"nets"`
		AllowedDomains []string `json:"allowedEgressDomains"`
	}
	unknown, err := strictly(h.Spec, &spec)
	if err == nil {
		set.nets, err = parseAddresses(spec.Nets, nil)
	}
	if err != nil || unknown != "" || len(spec.AllowedDomains) > 0 {
		set.nets, set.vague = everywhere(), true
	}
	return set
}

// calicoCompiler compiles policies of Calico. Sets are all network sets; hosts says that there are HostEndpoints, which selectors
// select, too.
type calicoCompiler struct {
	sets       []networkSet
	hosts      bool
	namespaces map[string]*Namespace
}

// compile is nil for a policy that is about the interfaces of nodes only.
func (c *calicoCompiler) compile(h *header) *policy {
	p := &policy{kind: "Calico " + h.Kind, name: h.fullName(), api: GlobalNetworkPolicy}
	if h.Kind == "GlobalNetworkPolicy" {
		p.kind = h.Kind
	}
	if h.Metadata.Namespace != "" {
		p.subjects = inNamespace(h.Metadata.Namespace)
	}
	var spec calicoSpec
	unknown, err := strictly(h.Spec, &spec)
	if err != nil {
		p.notUnderstood(err.Error())
		return p
	}
	if spec.DoNotTrack || spec.PreDNAT {
		return nil
	}
	p.tier, p.order = spec.Tier, orLast(spec.Order)
	if p.tier == "" {
		p.tier = defaultTier
	}
	p.place = fmt.Sprintf("tier %s, order %s", p.tier, calicoOrder(p.order))
	// Storage has the tier in the name: "default.allow-dns".
	p.name = strings.TrimPrefix(p.name, p.tier+".")
	if h.Metadata.Namespace != "" {
		p.name = h.Metadata.Namespace + "/" + strings.TrimPrefix(h.Metadata.Name, p.tier+".")
	}
	p.about = calicoTypes(&spec)
	p.defaultDeny = p.about
	for _, part := range []struct {
		text string
		of   domain
	}{{spec.Selector, podLabel}, {spec.NamespaceSelector, namespaceLabel}, {spec.ServiceAccountSelector, hidden}} {
		condition, err := parseCalicoSelector(part.text, part.of)
		if err != nil {
			unknown = err.Error()
			continue
		}
		p.subjects = and(p.subjects, condition)
	}
	for d, rules := range [directions][]calicoRule{spec.Ingress, spec.Egress} {
		for i := range rules {
			if strings.EqualFold(rules[i].Action, "Log") || !p.about[d] {
				continue
			}
			p.rules[d] = append(p.rules[d], c.rule(&rules[i], direction(d), h.Metadata.Namespace, fmt.Sprintf("spec.%s[%d]", direction(d), i)))
		}
	}
	if unknown != "" {
		p.notUnderstood(unknown)
	}
	return p
}

func calicoOrder(order float64) string {
	if math.IsInf(order, 1) {
		return "last"
	}
	return strconv.FormatFloat(order, 'g', -1, 64)
}

// calicoTypes are the directions that a policy is about (GlobalNetworkPolicySpec.Types).
func calicoTypes(spec *calicoSpec) (about [directions]bool) {
	for _, name := range spec.Types {
		about[ingress] = about[ingress] || strings.EqualFold(name, "Ingress")
		about[egress] = about[egress] || strings.EqualFold(name, "Egress")
	}
	if len(spec.Types) == 0 {
		about[egress] = len(spec.Egress) > 0
		about[ingress] = len(spec.Ingress) > 0 || !about[egress]
	}
	return about
}

func (c *calicoCompiler) rule(r *calicoRule, d direction, namespace, path string) rule {
	compiled := rule{}
	switch strings.ToLower(r.Action) {
	case "allow":
		compiled.action = accept
	case "deny":
		compiled.action = deny
	case "pass", "next-tier":
		compiled.action = pass
	default:
		return rule{action: accept, peers: everybody(), ports: everyPort(), vague: fmt.Sprintf("%s: the action %q is not known", path, r.Action)}
	}
	other, own := &r.Source, &r.Destination
	if d == egress {
		other, own = own, other
	}
	var why []string
	note := func(text string) {
		if text != "" {
			why = append(why, text)
		}
	}
	var text string
	compiled.peers, text = c.peers(other, namespace)
	note(text)
	if own.constrains() {
		note("it depends on the pod's own end of the connection")
	}
	if len(r.Source.Ports)+len(r.Source.NotPorts) > 0 {
		note("it depends on source ports")
	}
	if r.IPVersion != nil {
		note("it is about one family of addresses only")
	}
	if len(r.ICMP)+len(r.NotICMP)+len(r.HTTP) > 0 {
		note("it depends on what is sent")
	}
	note(compiled.addCalicoPorts(r))
	if len(why) > 0 {
		compiled.vague = path + ": " + strings.Join(why, ", ")
	}
	return compiled
}

// constrains says whether the end of a connection has to meet anything but ports.
func (e *calicoEntity) constrains() bool {
	return len(e.Nets)+len(e.NotNets)+len(e.Services) > 0 || e.Selector != "" || e.NotSelector != "" || e.NamespaceSelector != "" || e.ServiceAccounts != nil
}

// peers are the other ends that an entity matches, and why they may be fewer.
func (c *calicoCompiler) peers(e *calicoEntity, namespace string) (peers, string) {
	if !e.constrains() {
		return everybody(), ""
	}
	if len(e.Services) > 0 {
		return everybody(), "what stands behind the service is not known"
	}
	nets, err := calicoNets(e)
	if err != nil {
		return everybody(), err.Error()
	}
	if e.Selector == "" && e.NotSelector == "" && e.NamespaceSelector == "" && e.ServiceAccounts == nil {
		return peers{nets: nets, netsOfPods: true}, ""
	}
	who, err := e.condition(namespace)
	if err != nil {
		return everybody(), err.Error()
	}
	negative, err := parseCalicoSelector(e.NotSelector, podLabel)
	if err != nil {
		return everybody(), err.Error()
	}
	vague := ""
	if len(e.Nets)+len(e.NotNets) > 0 {
		vague = "it depends on addresses and on labels"
	}
	if e.NotSelector != "" && e.Selector == "" && e.NamespaceSelector == "" && e.ServiceAccounts == nil {
		// Whatever is not an endpoint with such labels, be it an endpoint or not.
		if len(c.sets) > 0 || c.hosts {
			vague = "it depends on which network sets have the labels"
		}
		return peers{pods: []condition{negative.not()}, nets: nets, nodes: always, entities: []string{"all"}}, vague
	}
	if e.NotSelector != "" {
		who = and(who, negative.not())
	}
	p := peers{pods: []condition{who}, netsOfPods: true}
	if c.hosts {
		p.nodes = perhaps
	}
	for i := range c.sets {
		selected := c.selects(e, who, &c.sets[i])
		if selected != never {
			p.nets = p.nets.union(c.sets[i].nets)
		}
		if selected == perhaps || selected == always && c.sets[i].vague {
			vague = "it depends on which network sets have the labels"
		}
	}
	if len(p.nets) > 0 {
		p.words = who.String() + "; network sets with such labels"
	}
	return p, vague
}

// selects says whether an entity may be about a network set. One without a namespace is selected by global().
func (c *calicoCompiler) selects(e *calicoEntity, who condition, set *networkSet) truth {
	if set.namespace == "" && strings.Contains(e.NamespaceSelector, "global(") {
		return perhaps
	}
	return who.holds(set.lookup(c.namespaces))
}

func calicoNets(e *calicoEntity) (addresses, error) {
	if len(e.Nets) == 0 {
		without, err := parseAddresses(e.NotNets, nil)
		return everywhere().less(without), err
	}
	return parseAddresses(e.Nets, e.NotNets)
}

// condition is what a peer's labels, namespace and service account have to meet. Without a selector of namespaces, a policy of a
// namespace is about that namespace only (EntityRule.NamespaceSelector).
func (e *calicoEntity) condition(namespace string) (condition, error) {
	who, err := parseCalicoSelector(e.Selector, podLabel)
	if err != nil {
		return condition{}, err
	}
	where, err := parseCalicoSelector(e.NamespaceSelector, namespaceLabel)
	if err != nil {
		return condition{}, err
	}
	if e.NamespaceSelector == "" && namespace != "" {
		where = inNamespace(namespace)
	}
	who = and(where, who)
	if e.ServiceAccounts == nil {
		return who, nil
	}
	if names := e.ServiceAccounts.Names; len(names) > 0 {
		who = and(who, in(attribute{domain: serviceAccountName}, names...))
	}
	account, err := parseCalicoSelector(e.ServiceAccounts.Selector, hidden)
	return and(who, account), err
}

// lookup is what a selector sees of a network set.
func (s *networkSet) lookup(namespaces map[string]*Namespace) lookup {
	within := ofNamespace(s.namespace, namespaces[s.namespace])
	return func(on attribute) (string, bool, bool) {
		switch {
		case on.domain == podLabel:
			value, there := s.labels[on.name]
			return value, there, true
		case s.namespace == "":
			return "", false, false
		default:
			return within(on)
		}
	}
}

// calicoProtocols are the names and numbers that Calico knows.
var calicoProtocols = map[string]protocol{"tcp": tcp, "6": tcp, "udp": udp, "17": udp, "sctp": sctp, "132": sctp}

// addCalicoPorts sets the ports that a rule matches at most, and says why it may be fewer.
func (r *rule) addCalicoPorts(c *calicoRule) string {
	candidates, why := calicoProtocolsOf(c)
	if len(c.Destination.Ports) == 0 {
		for _, p := range candidates {
			r.ports = r.ports.union(portsOf(p, allPorts.first, allPorts.last))
		}
	}
	var not rule
	for _, list := range []struct {
		ports []json.RawMessage
		into  *rule
	}{{c.Destination.Ports, r}, {c.Destination.NotPorts, &not}} {
		for _, raw := range list.ports {
			for _, p := range candidates {
				if err := list.into.addCalicoPort(raw, p); err != nil {
					r.ports = everyPort()
					return err.Error()
				}
			}
		}
	}
	if len(not.named) > 0 {
		return "which port has the name is not known"
	}
	r.ports = r.ports.less(not.ports)
	return why
}

// calicoProtocolsOf are the protocols that a rule is about at most.
func calicoProtocolsOf(c *calicoRule) ([]protocol, string) {
	all := []protocol{tcp, udp, sctp, otherProtocols}
	if len(c.NotProtocol) > 0 {
		name := strings.ToLower(strings.Trim(string(c.NotProtocol), `"`))
		without, known := calicoProtocols[name]
		if !known || len(c.Protocol) > 0 {
			return all, "it leaves out a protocol"
		}
		var rest []protocol
		for _, p := range all {
			if p != without {
				rest = append(rest, p)
			}
		}
		return rest, ""
	}
	if len(c.Protocol) == 0 {
		return all, ""
	}
	if p, known := calicoProtocols[strings.ToLower(strings.Trim(string(c.Protocol), `"`))]; known {
		return []protocol{p}, ""
	}
	return []protocol{otherProtocols}, "it is about one protocol only"
}

var calicoPortRange = regexp.MustCompile(`^([0-9]+)(?::([0-9]+))?$`)

// addCalicoPort adds a port: a number, "1000:2000", or the name of one.
func (r *rule) addCalicoPort(raw json.RawMessage, p protocol) error {
	text := strings.Trim(string(raw), `"`)
	parts := calicoPortRange.FindStringSubmatch(text)
	if parts == nil {
		var name string
		if err := json.Unmarshal(raw, &name); err != nil || name == "" {
			return fmt.Errorf("the port %s is not understood", raw)
		}
		if p != otherProtocols {
			r.named = append(r.named, namedPort{name, p})
		}
		return nil
	}
	first, err := strconv.ParseUint(parts[1], 10, 16)
	if err != nil {
		return fmt.Errorf("reading the port %s: %w", raw, err)
	}
	last := first
	if parts[2] != "" {
		if last, err = strconv.ParseUint(parts[2], 10, 16); err != nil {
			return fmt.Errorf("reading the port %s: %w", raw, err)
		}
	}
	r.ports = r.ports.union(portsOf(p, int32(first), int32(last)))
	return nil
}
