package packets

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CalicoPolicy is a NetworkPolicy of Calico (projectcalico.org/v3), or a GlobalNetworkPolicy if Namespace is "".
// Its selectors are Kubernetes' here, of which [CalicoPolicy.Manifest] makes Calico's expressions: nothing parses them here.
type CalicoPolicy struct {
	Namespace, Name string
	// Tier is "" for the default one. Order nil comes last.
	Tier  string
	Order *float64
	// Pods are those that it is about, all if nil; Namespaces, which a policy of a namespace may not have, where they are.
	Pods, Namespaces *metav1.LabelSelector
	// Types are those of its rules if there are none, or Ingress without rules.
	Types           []networkingv1.PolicyType
	Ingress, Egress []CalicoRule
}

// CalicoRule is about traffic with a peer.
type CalicoRule struct {
	Action           string // Allow, Deny, Pass or Log
	Protocol         corev1.Protocol
	Nets, NotNets    []string
	Pods, Namespaces *metav1.LabelSelector
	// Ports of the receiver: numbers, ranges ("80:90") and names. They need a protocol.
	Ports []CalicoPort
}

// CalicoPort is a range, or a name.
type CalicoPort struct {
	First, Last int32
	Name        string
}

// CalicoTier is a tier. The one named default is always there.
type CalicoTier struct {
	Name  string
	Order float64
}

// Where Calico puts what has no place of its own: its default tier, and Kubernetes' policies within it
// (Calico, "Tiers" and "Kubernetes network policy").
const (
	calicoDefaultTier      = "default"
	calicoDefaultTierOrder = 1_000_000
	calicoKubernetesOrder  = 1000
)

// calicoVerdicts of the actions. Pass leaves the tier, Log decides nothing.
var calicoVerdicts = map[string]string{"Allow": "counter accept", "Deny": "counter drop", "Pass": "counter return", "Log": "counter"}

// calicoChains are the rules of a pod tier by tier. A tier in which a policy is about the pod, and no rule about the packet,
// denies it; one in which no policy is about the pod passes on.
func (c *Cluster) calicoChains(d direction, pod *corev1.Pod) ([]chain, error) {
	tiers := append([]CalicoTier{{calicoDefaultTier, calicoDefaultTierOrder}}, c.CalicoTiers...)
	slices.SortFunc(tiers, func(a, b CalicoTier) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Name, b.Name))
	})
	var chains []chain
	for _, tier := range tiers {
		found, err := c.calicoPolicies(tier.Name, d, pod)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		one := chain{name: "tier-" + tier.Name}
		for _, policy := range found {
			one.rules = append(one.rules, policy.rules...)
		}
		one.rules = append(one.rules, "counter drop")
		chains = append(chains, one)
	}
	return chains, nil
}

// calicoOrdered is a policy that is about a pod, ready to be put in order.
type calicoOrdered struct {
	order float64
	last  bool // without an order
	name  string
	rules []string
}

// calicoPolicies of a tier that are about a pod, in order.
func (c *Cluster) calicoPolicies(tier string, d direction, pod *corev1.Pod) ([]calicoOrdered, error) {
	var found []calicoOrdered
	for i := range c.CalicoPolicies {
		policy := &c.CalicoPolicies[i]
		applies, err := c.calicoApplies(policy, d, pod)
		if err != nil {
			return nil, fmt.Errorf("policy %s of Calico: %w", policy.Name, err)
		}
		if cmp.Or(policy.Tier, calicoDefaultTier) != tier || !applies {
			continue
		}
		one := calicoOrdered{last: policy.Order == nil, name: policy.Name}
		if policy.Order != nil {
			one.order = *policy.Order
		}
		if one.rules, err = c.calicoRules(policy, d, pod); err != nil {
			return nil, fmt.Errorf("policy %s of Calico: %w", policy.Name, err)
		}
		found = append(found, one)
	}
	if tier == calicoDefaultTier {
		rules, selected, err := c.networkPolicyRules(d, pod)
		if err != nil {
			return nil, err
		}
		if selected {
			found = append(found, calicoOrdered{order: calicoKubernetesOrder, name: "kubernetes", rules: rules})
		}
	}
	slices.SortFunc(found, func(a, b calicoOrdered) int {
		if a.last != b.last {
			if a.last {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.name, b.name))
	})
	return found, nil
}

func (c *Cluster) calicoApplies(policy *CalicoPolicy, d direction, pod *corev1.Pod) (bool, error) {
	if pod.Spec.HostNetwork || policy.Namespace != "" && policy.Namespace != pod.Namespace || !slices.Contains(policy.types(), d.policyType) {
		return false, nil
	}
	for _, one := range []struct {
		selector *metav1.LabelSelector
		labels   map[string]string
	}{{policy.Pods, pod.Labels}, {policy.Namespaces, c.namespaceLabels(pod.Namespace)}} {
		if one.selector == nil {
			continue
		}
		if matching, err := selects(one.selector, one.labels); err != nil || !matching {
			return false, err
		}
	}
	return true, nil
}

func (p *CalicoPolicy) types() []networkingv1.PolicyType {
	if len(p.Types) > 0 {
		return p.Types
	}
	var types []networkingv1.PolicyType
	if len(p.Ingress) > 0 || len(p.Egress) == 0 {
		types = append(types, networkingv1.PolicyTypeIngress)
	}
	if len(p.Egress) > 0 {
		types = append(types, networkingv1.PolicyTypeEgress)
	}
	return types
}

func (c *Cluster) calicoRules(policy *CalicoPolicy, d direction, pod *corev1.Pod) ([]string, error) {
	rules := policy.Ingress
	if d == egress {
		rules = policy.Egress
	}
	var lines []string
	for i := range rules {
		rule := &rules[i]
		verdict, ok := calicoVerdicts[rule.Action]
		if !ok {
			return nil, fmt.Errorf("no action %q is known", rule.Action)
		}
		peers, err := c.calicoPeers(policy, rule)
		if err != nil {
			return nil, err
		}
		lines = append(lines, c.render(d, pod, peers, rule.ports(), verdict)...)
	}
	return lines, nil
}

// calicoPeers are who a rule is about: the pods that it selects, as far as they are within its networks; or the networks
// alone. A rule of a namespace selects its pods in it, unless it selects namespaces.
func (c *Cluster) calicoPeers(policy *CalicoPolicy, rule *CalicoRule) ([]peer, error) {
	if rule.Pods == nil && rule.Namespaces == nil {
		return rule.networks(), nil
	}
	namespaces, pods := rule.Namespaces, rule.Pods
	if namespaces == nil {
		namespaces = &metav1.LabelSelector{}
		if policy.Namespace != "" {
			namespaces.MatchLabels = map[string]string{corev1.LabelMetadataName: policy.Namespace}
		}
	}
	if pods == nil {
		pods = &metav1.LabelSelector{}
	}
	found, err := c.podsOf(namespaces, pods)
	return []peer{{pods: found, within: rule.Nets, except: rule.NotNets}}, err
}

func (r *CalicoRule) networks() []peer {
	var peers []peer
	for _, network := range r.Nets {
		peers = append(peers, peer{block: network, except: r.NotNets})
	}
	if len(r.Nets) > 0 {
		return peers
	}
	if len(r.NotNets) > 0 {
		return []peer{{anybody: true, except: r.NotNets}}
	}
	return []peer{{anybody: true}}
}

func (r *CalicoRule) ports() []port {
	if r.Protocol == "" {
		return nil
	}
	if len(r.Ports) == 0 {
		return []port{{protocol: r.Protocol}}
	}
	var ports []port
	for _, one := range r.Ports {
		ports = append(ports, port{protocol: r.Protocol, first: one.First, last: one.Last, name: one.Name})
	}
	return ports
}

// Manifest is the policy as Calico's API has it.
func (p *CalicoPolicy) Manifest() map[string]any {
	metadata, kind := map[string]any{"name": p.Name}, "GlobalNetworkPolicy"
	if p.Namespace != "" {
		metadata["namespace"], kind = p.Namespace, "NetworkPolicy"
	}
	spec := map[string]any{}
	set(spec, "tier", p.Tier)
	set(spec, "selector", calicoSelector(p.Pods))
	set(spec, "namespaceSelector", calicoSelector(p.Namespaces))
	if p.Order != nil {
		spec["order"] = *p.Order
	}
	if len(p.Types) > 0 {
		spec["types"] = p.Types
	}
	for name, rules := range map[string][]CalicoRule{"ingress": p.Ingress, "egress": p.Egress} {
		var list []any
		for i := range rules {
			list = append(list, rules[i].manifest(name == "ingress"))
		}
		if list != nil {
			spec[name] = list
		}
	}
	return map[string]any{"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec}
}

func (r *CalicoRule) manifest(ingress bool) map[string]any {
	peer, receiver := map[string]any{}, map[string]any{}
	set(peer, "selector", calicoSelector(r.Pods))
	set(peer, "namespaceSelector", calicoSelector(r.Namespaces))
	if len(r.Nets) > 0 {
		peer["nets"] = r.Nets
	}
	if len(r.NotNets) > 0 {
		peer["notNets"] = r.NotNets
	}
	var ports []any
	for _, port := range r.Ports {
		switch {
		case port.Name != "":
			ports = append(ports, port.Name)
		case port.Last > port.First:
			ports = append(ports, fmt.Sprintf("%d:%d", port.First, port.Last))
		default:
			ports = append(ports, port.First)
		}
	}
	if !ingress {
		receiver = peer
	}
	if ports != nil {
		receiver["ports"] = ports
	}
	rule := map[string]any{"action": r.Action}
	set(rule, "protocol", string(r.Protocol))
	for name, side := range map[string]map[string]any{"source": peer, "destination": receiver} {
		if name == "source" && !ingress {
			continue
		}
		if len(side) > 0 {
			rule[name] = side
		}
	}
	return rule
}

// Manifest is the tier as Calico's API has it.
func (t *CalicoTier) Manifest() map[string]any {
	return map[string]any{"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": map[string]any{"name": t.Name}, "spec": map[string]any{"order": t.Order}}
}

func set(object map[string]any, key, value string) {
	if value != "" {
		object[key] = value
	}
}

// calicoSelector says the same in Calico's language; "" for none.
func calicoSelector(selector *metav1.LabelSelector) string {
	if selector == nil {
		return ""
	}
	var parts []string
	for key, value := range selector.MatchLabels {
		parts = append(parts, fmt.Sprintf("%s == '%s'", calicoKey(key), value))
	}
	for _, one := range selector.MatchExpressions {
		values := "{'" + strings.Join(one.Values, "', '") + "'}"
		switch one.Operator {
		case metav1.LabelSelectorOpIn:
			parts = append(parts, calicoKey(one.Key)+" in "+values)
		case metav1.LabelSelectorOpNotIn:
			parts = append(parts, calicoKey(one.Key)+" not in "+values)
		case metav1.LabelSelectorOpExists:
			parts = append(parts, "has("+calicoKey(one.Key)+")")
		case metav1.LabelSelectorOpDoesNotExist:
			parts = append(parts, "!has("+calicoKey(one.Key)+")")
		}
	}
	if len(parts) == 0 {
		return "all()"
	}
	return strings.Join(parts, " && ")
}

// calicoKey is what Calico calls a label: the name of a namespace has one of its own there.
func calicoKey(key string) string {
	if key == corev1.LabelMetadataName {
		return "projectcalico.org/name"
	}
	return key
}
