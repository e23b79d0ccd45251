package isolation

import (
	"fmt"
	"slices"
	"strings"
)

// anything is every peer.
const anything = "anything"

// flows gathers what is accepted, by the rule that accepts it.
type flows struct {
	world   *world
	stages  []stage
	subject *Pod
	d       direction
	order   []*accepted
	looked  int // how many flows were compared with the pods of the cluster
	byRule  map[*rule]*accepted
}

// accepted is what one rule accepts: which ports, for which peers.
type accepted struct {
	decision
	parts []acceptedPart
}

type acceptedPart struct {
	atom  atom
	ports portSet
	// byAddress says that the atom is pods or nodes only as far as they have addresses that the rule matches.
	byAddress bool
}

func newFlows(w *world, stages []stage, subject *Pod, d direction) *flows {
	return &flows{world: w, stages: stages, subject: subject, d: d, byRule: map[*rule]*accepted{}}
}

func (f *flows) add(x decision, a *atom) {
	entry := f.byRule[x.rule]
	if entry == nil {
		entry = &accepted{decision: x}
		f.byRule[x.rule] = entry
		f.order = append(f.order, entry)
	}
	entry.parts = append(entry.parts, acceptedPart{*a, x.ports, x.rule != nil && x.match == perhaps && a.of == nil && x.rule.peers.nodes != perhaps && x.rule.peers.netsOfPods})
}

// list are the flows in an order that does not depend on that of the input, each once.
func (f *flows) list() []Flow {
	var all []Flow
	for _, entry := range f.order {
		all = append(all, f.of(entry)...)
	}
	slices.SortStableFunc(all, func(a, b Flow) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// of are the flows of one rule: one for each set of ports.
func (f *flows) of(entry *accepted) []Flow {
	var order []string
	byPorts := map[string][]atom{}
	for _, part := range entry.parts {
		if part.byAddress && entry.told(part.ports) {
			continue
		}
		if part.byAddress && part.atom.kind == somePods {
			part.atom.kind = podsByAddress
		}
		ports := entry.portsText(part.ports)
		if _, seen := byPorts[ports]; !seen {
			order = append(order, ports)
		}
		byPorts[ports] = append(byPorts[ports], part.atom)
	}
	var list []Flow
	for _, ports := range order {
		flow := Flow{Direction: f.d.String(), Ports: ports, Reason: f.reason(entry)}
		if flow.Peer = peerText(entry.rule, byPorts[ports]); flow.Peer != anything {
			flow.Peer += f.today(entry, byPorts[ports])
		}
		if entry.policy != nil {
			flow.Policy = entry.policy.title()
		}
		list = append(list, flow)
	}
	return list
}

// told says whether all addresses that the rule matches are accepted on the ports, so that those which pods or nodes have need no mention.
func (a *accepted) told(ports portSet) bool {
	var nets addresses
	for _, part := range a.parts {
		if part.atom.kind == someAddresses && ports.less(part.ports).empty() {
			nets = append(nets, part.atom.cell)
		}
	}
	return len(a.rule.peers.nets.less(nets.normal())) == 0
}

// portsText are the ports; where a rule names some that only the peer knows, their names.
func (a *accepted) portsText(ports portSet) string {
	if a.rule == nil || len(a.rule.named) == 0 {
		return ports.String()
	}
	var texts []string
	if numbers := ports.intersect(a.rule.ports); !numbers.empty() {
		texts = append(texts, numbers.String())
	}
	for _, named := range a.rule.named {
		text := "the port named " + named.name
		if named.protocol != anyProtocol {
			text = named.protocol.String() + " " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// peerText says who the peers are.
func peerText(r *rule, atoms []atom) string {
	var pods, rest []string
	var nets addresses
	every := false
	for _, a := range atoms {
		switch a.kind {
		case somePods:
			every = every || a.condition.everything()
			pods = append(pods, a.condition.String())
		case someAddresses:
			nets = append(nets, a.cell)
		case otherNodes:
			rest = append(rest, "other nodes")
		case podsByAddress:
			rest = append(rest, "pods with addresses in "+r.peers.nets.String())
		case someEntity:
			rest = append(rest, "the entity "+a.entity)
		}
	}
	nets = nets.normal()
	if every && nets.all() {
		return anything
	}
	if r != nil && r.peers.words != "" && r.peers.words != anything && len(pods) > 0 {
		return r.peers.words
	}
	if every {
		pods = []string{condition{}.String()}
	}
	slices.Sort(pods)
	texts := slices.Compact(pods)
	if len(texts) > maxSpans {
		texts = append(slices.Clone(texts[:maxSpans]), fmt.Sprintf("%d more kinds of pods", len(texts)-maxSpans))
	}
	if len(nets) > 0 {
		texts = append(texts, nets.String())
	}
	slices.Sort(rest)
	return strings.Join(append(texts, rest...), "; ")
}

// maxNamed is how many pods are named, maxLooked for how many flows.
const (
	maxNamed  = 3
	maxLooked = 50
)

// today names pods that are such peers now: " (today shop/web-1, shop/web-2 and 7 more)".
func (f *flows) today(entry *accepted, atoms []atom) string {
	var conditions []condition
	for _, a := range atoms {
		if a.kind == somePods && !a.condition.everything() {
			conditions = append(conditions, a.condition)
		}
	}
	if entry.rule == nil || len(conditions) == 0 || f.looked == maxLooked {
		return ""
	}
	f.looked++
	var names []string
	count := 0
	for i := range f.world.cluster.Pods {
		pod := &f.world.cluster.Pods[i]
		if pod.HostNetwork || same(pod, f.subject) {
			continue
		}
		look := ofPod(pod, f.world.namespaces[pod.Namespace])
		if !slices.ContainsFunc(conditions, func(c condition) bool { return c.holds(look) == always }) {
			continue
		}
		count++
		names = smallest(names, pod.Namespace+"/"+pod.Name)
	}
	switch {
	case count == 0:
		return " (none today)"
	case count > len(names):
		return fmt.Sprintf(" (today %s and %d more)", strings.Join(names, ", "), count-len(names))
	default:
		return fmt.Sprintf(" (today %s)", strings.Join(names, ", "))
	}
}

// smallest adds a name and keeps the first of all in order.
func smallest(names []string, name string) []string {
	at, _ := slices.BinarySearch(names, name)
	names = slices.Insert(names, at, name)
	return names[:min(len(names), maxNamed)]
}

// reason says why nothing stops what a rule accepts.
func (f *flows) reason(entry *accepted) string {
	if entry.policy == nil {
		if f.bound() == 0 {
			return fmt.Sprintf("no policy that is enforced is about %s of the pod", f.d)
		}
		return fmt.Sprintf("no policy denies this %s", f.d)
	}
	var parts []string
	switch {
	case entry.policy.doubt != "":
		parts = append(parts, "assumed: "+entry.policy.doubt)
	case entry.rule.vague != "":
		parts = append(parts, "assumed: "+entry.rule.vague)
	}
	if later := f.later(entry); later != "" {
		parts = append(parts, later)
	}
	return strings.Join(parts, "; ")
}

func (f *flows) bound() (count int) {
	for _, stage := range f.stages {
		for _, group := range stage.groups {
			count += len(group)
		}
	}
	return count
}

// later names what would deny it, were it not accepted before.
func (f *flows) later(entry *accepted) string {
	a := &entry.parts[0].atom
	for s := entry.stage; s < len(f.stages); s++ {
		for g, group := range f.stages[s].groups {
			if s == entry.stage && g < entry.group {
				continue
			}
			for i := range group {
				b := &group[i]
				if b.policy == entry.policy.policy {
					continue
				}
				if b.sure && f.denies(b, a) {
					return fmt.Sprintf("it accepts%s before %s%s can deny", placeText(entry.policy.place), b.title(), placeText(b.place))
				}
				if s == entry.stage && b.sure && b.defaultDeny[f.d] && len(b.rules[f.d]) == 0 {
					return fmt.Sprintf("policies add up: %s, which allows nothing, takes nothing away", b.title())
				}
				if s > entry.stage && b.sure && b.defaultDeny[f.d] {
					return fmt.Sprintf("it accepts%s before %s%s can deny", placeText(entry.policy.place), b.title(), placeText(b.place))
				}
			}
		}
	}
	return ""
}

func (f *flows) denies(b *bound, a *atom) bool {
	for i := range b.rules[f.d] {
		if r := &b.rules[f.d][i]; r.action == deny && r.vague == "" && f.world.matches(&r.peers, a) == always {
			return true
		}
	}
	return false
}

func placeText(place string) string {
	if place == "" {
		return ""
	}
	return " (" + place + ")"
}
