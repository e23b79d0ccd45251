package isolation

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// world is what is known of a cluster, ready for walks.
type world struct {
	cluster    *Cluster
	namespaces map[string]*Namespace
	policies   []*policy
	tiers      []calicoTier
}

// newWorld compiles all policies of a cluster.
func newWorld(c *Cluster) (*world, error) {
	w := &world{cluster: c, namespaces: map[string]*Namespace{}, tiers: calicoTiers()}
	for i := range c.Namespaces {
		w.namespaces[c.Namespaces[i].Name] = &c.Namespaces[i]
	}
	headers, err := headersOf(c.Policies)
	if err != nil {
		return nil, err
	}
	calico := calicoCompiler{namespaces: w.namespaces}
	for _, h := range headers {
		if h.group() != calicoGroup && h.group() != calicoStorageGroup {
			continue
		}
		switch h.Kind {
		case "Tier":
			tier, err := compileCalicoTier(h)
			if err != nil {
				return nil, err
			}
			w.tiers = slices.DeleteFunc(w.tiers, func(t calicoTier) bool { return t.name == tier.name })
			w.tiers = append(w.tiers, tier)
		case "NetworkSet", "GlobalNetworkSet":
			calico.sets = append(calico.sets, compileNetworkSet(h))
		case "HostEndpoint":
			calico.hosts = true
		}
	}
	for _, h := range headers {
		w.policies = append(w.policies, compilePolicies(h, &calico)...)
	}
	// The same whatever the order in which objects are given.
	slices.SortStableFunc(w.policies, func(a, b *policy) int {
		return cmp.Or(cmp.Compare(a.order, b.order), strings.Compare(a.kind, b.kind), strings.Compare(a.name, b.name))
	})
	slices.SortFunc(w.tiers, func(a, b calicoTier) int {
		return cmp.Or(cmp.Compare(a.order, b.order), strings.Compare(a.name, b.name))
	})
	return w, nil
}

// headersOf decodes objects, and takes lists apart. A list within a list is none that kubectl or an API server makes, and is refused.
func headersOf(objects []Object) ([]*header, error) {
	var all []*header
	for _, object := range objects {
		h, err := decodeHeader(object)
		if err != nil {
			return nil, err
		}
		if !h.isList() {
			all = append(all, &h)
			continue
		}
		for i, item := range h.Items {
			within, err := decodeHeader(itemOf(&h, item))
			if err == nil && within.isList() {
				err = errors.New("it is a list itself")
			}
			if err != nil {
				return nil, fmt.Errorf("decoding item %d of a %s: %w", i, h.Kind, err)
			}
			all = append(all, &within)
		}
	}
	return all, nil
}

// compilePolicies are the policies of one object: none of one that is not a policy.
func compilePolicies(h *header, calico *calicoCompiler) []*policy {
	switch kind := h.GroupVersionKind(); kind.Group {
	case "networking.k8s.io":
		if kind.Kind == "NetworkPolicy" {
			return []*policy{compileNetworkPolicy(h)}
		}
	case policyGroup:
		if slices.Contains([]string{"ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy"}, kind.Kind) {
			return []*policy{compileClusterPolicy(h)}
		}
	case ciliumGroup:
		if kind.Kind == "CiliumNetworkPolicy" || kind.Kind == "CiliumClusterwideNetworkPolicy" {
			return compileCilium(h)
		}
	case calicoGroup, calicoStorageGroup:
		if kind.Kind == "NetworkPolicy" || kind.Kind == "GlobalNetworkPolicy" {
			if p := calico.compile(h); p != nil {
				return []*policy{p}
			}
		}
	case antreaGroup:
		if kind.Kind == "NetworkPolicy" || kind.Kind == "ClusterNetworkPolicy" {
			p := &policy{kind: "Antrea " + kind.Kind, name: h.fullName(), api: antreaPolicies, order: beforeAll}
			if h.Metadata.Namespace != "" {
				p.subjects = inNamespace(h.Metadata.Namespace)
			}
			p.notUnderstood("policies of " + antreaGroup + " are not among what is understood")
			return []*policy{p}
		}
	}
	return nil
}

// bind are the policies that are, or may be, about the subject in a direction, and enforced.
func (w *world) bind(cni CNI, subject *Pod, d direction) []bound {
	var all []bound
	look := ofPod(subject, w.namespaces[subject.Namespace])
	for _, p := range w.policies {
		if !p.about[d] {
			continue
		}
		enforced := cni.enforces(p.api)
		selected := p.subjects.holds(look)
		if p.anySubject && selected == never && inNamespaceOrAll(p.name, subject.Namespace) {
			selected = perhaps
		}
		if enforced.is == never || selected == never {
			continue
		}
		b := bound{policy: p, sure: enforced.is == always && selected == always && p.vague == ""}
		switch {
		case p.vague != "":
			b.doubt = "it is not understood: " + p.vague
		case selected == perhaps:
			b.doubt = "whether it is about the pod depends on labels that are not known"
		case enforced.is == perhaps:
			b.doubt = enforced.condition
		}
		all = append(all, b.resolved(cni, subject, d))
	}
	return all
}

// inNamespaceOrAll says whether a policy by its name is one of the cluster or of the namespace.
func inNamespaceOrAll(name, namespace string) bool {
	within, _, found := strings.Cut(name, "/")
	return !found || within == namespace
}

// resolved is the policy as it is for the subject and the provider: names of the subject's ports are numbers.
func (b bound) resolved(cni CNI, subject *Pod, d direction) bound {
	byAddress := cni != Cilium || b.api != networkPolicies
	named := func(r rule) bool { return len(r.named) > 0 }
	if byAddress && (d == egress || !slices.ContainsFunc(b.rules[d], named)) {
		return b
	}
	p := *b.policy
	p.rules[d] = slices.Clone(p.rules[d])
	for i := range p.rules[d] {
		r := &p.rules[d][i]
		if !byAddress && len(r.peers.nets) > 0 && r.peers.words == "" {
			// Cilium: "CIDR rules do not apply to traffic where both sides are managed by Cilium".
			r.peers.netsOfPods = false
		}
		if d == ingress {
			for _, name := range r.named {
				r.ports = r.ports.union(name.of(subject))
			}
			r.named = nil
		}
	}
	b.policy = &p
	return b
}

// stages are the policies about the subject in the order in which the provider asks them.
func (w *world) stages(cni CNI, subject *Pod, d direction) []stage {
	policies := w.bind(cni, subject, d)
	switch cni {
	case Cilium:
		return ciliumStages(policies, d)
	case Calico:
		return w.calicoStages(policies, d)
	default:
		return clusterStages(policies, cni)
	}
}

// clusterStages are the tiers of ClusterNetworkPolicy: Admin, NetworkPolicies, Baseline. What may not be enforced comes first in its
// tier, which is the worst that can be.
func clusterStages(policies []bound, cni CNI) []stage {
	var own, adminPerhaps, admin, networks, baseline, baselinePerhaps []bound
	for _, b := range policies {
		certain := cni.enforces(b.api).is == always
		switch {
		case b.api == antreaPolicies:
			own = append(own, b)
		case b.api == networkPolicies:
			networks = append(networks, b)
		case b.tier == adminTier && certain:
			admin = append(admin, b)
		case b.tier == adminTier:
			adminPerhaps = append(adminPerhaps, b)
		case certain:
			baseline = append(baseline, b)
		default:
			baselinePerhaps = append(baselinePerhaps, b)
		}
	}
	return []stage{
		{groups: oneGroup(own)},
		{groups: byOrder(adminPerhaps)}, {groups: byOrder(admin)},
		{groups: oneGroup(networks)},
		{groups: byOrder(baselinePerhaps)}, {groups: byOrder(baseline)},
	}
}

func oneGroup(policies []bound) [][]bound {
	if len(policies) == 0 {
		return nil
	}
	return [][]bound{policies}
}

// byOrder puts policies into groups of the same order, lowest first.
func byOrder(policies []bound) [][]bound {
	slices.SortStableFunc(policies, func(a, b bound) int { return cmp.Compare(a.order, b.order) })
	var groups [][]bound
	for i, b := range policies {
		if i > 0 && b.order == policies[i-1].order {
			groups[len(groups)-1] = append(groups[len(groups)-1], b)
			continue
		}
		groups = append(groups, []bound{b})
	}
	return groups
}

// ciliumStages are first what is denied by any policy, then what is allowed by any, NetworkPolicies among them (docs.cilium.io, "Deny
// policies take precedence over allow policies").
func ciliumStages(policies []bound, d direction) []stage {
	split := func(keep action) []bound {
		var kept []bound
		for _, b := range policies {
			p := *b.policy
			p.rules[d] = slices.DeleteFunc(slices.Clone(p.rules[d]), func(r rule) bool { return r.action != keep })
			p.defaultDeny[d] = p.defaultDeny[d] && keep == accept
			kept = append(kept, bound{policy: &p, sure: b.sure, doubt: b.doubt})
		}
		return kept
	}
	return []stage{{groups: oneGroup(split(deny))}, {groups: oneGroup(split(accept))}}
}

// calicoStages are the tiers. NetworkPolicies, and those of policy.networking.k8s.io, stand in tiers like Calico's own. A policy of a tier
// that is not known may come before all others.
func (w *world) calicoStages(policies []bound, d direction) []stage {
	byTier := map[string][]bound{}
	for _, b := range policies {
		tier := b.tier
		switch tier {
		case adminTier:
			tier = "kube-admin"
		case baselineTier:
			tier = "kube-baseline"
		}
		if !slices.ContainsFunc(w.tiers, func(t calicoTier) bool { return t.name == tier }) {
			if b.sure {
				b.sure, b.doubt = false, fmt.Sprintf("the tier %q is not among those that are known", b.tier)
			}
			tier = ""
		}
		byTier[tier] = append(byTier[tier], b)
	}
	stages := []stage{{groups: byOrder(byTier[""])}}
	for _, tier := range w.tiers {
		within := byTier[tier.name]
		for i := range within {
			if tier.pass && within[i].defaultDeny[d] {
				p := *within[i].policy
				p.defaultDeny[d] = false
				within[i].policy = &p
			}
		}
		stages = append(stages, stage{groups: byOrder(within)})
	}
	return stages
}
