package isolation

import (
	"fmt"
	"slices"
	"strings"
)

// Evaluate proves what traffic remains possible to and from the subject under the cluster's policies. It asks what the
// subject's own policies permit: what those of a peer forbid may change with the peer.
//
// It fails where the provider is none that it knows, or an object is not even a manifest; what it does not understand of a policy is assumed
// to permit, and told.
func Evaluate(c *Cluster, subject Pod) (Report, error) {
	if c.CNI != "" && !c.CNI.Known() {
		return Report{}, fmt.Errorf("evaluating network policies: the provider %q is not known; name one of %s", c.CNI, join(CNIs()))
	}
	w, err := newWorld(c)
	if err != nil {
		return Report{}, fmt.Errorf("evaluating network policies: %w", err)
	}
	if why := unenforceable(c.CNI, &subject); why != "" {
		return Report{Verdict: Unenforceable, Residual: unlimited(why), Connections: MayPersist}, nil
	}
	if c.CNI == "" {
		return w.proveUnknown(&subject), nil
	}
	return w.prove(c.CNI, &subject), nil
}

// unenforceable says why no network policy is about the subject, "" if some may be.
func unenforceable(cni CNI, subject *Pod) string {
	switch {
	case subject.HostNetwork:
		return "the pod shares its node's network, which network policies are not about"
	case subject.Static:
		return "the pod is the kubelet's own: its labels, and whether it runs, are not the API's to change"
	case cni == None:
		return "the cluster's network enforces no policies"
	default:
		return ""
	}
}

func unlimited(why string) []Flow {
	return []Flow{
		{Direction: Ingress, Peer: anything, Ports: everyPort().String(), Reason: why},
		{Direction: Egress, Peer: anything, Ports: everyPort().String(), Reason: why},
	}
}

// prove is the proof for one provider.
func (w *world) prove(cni CNI, subject *Pod) Report {
	report := Report{Verdict: Isolated, Residual: []Flow{}, Connections: MayPersist}
	for d := range directions {
		report.Residual = append(report.Residual, w.residual(cni, subject, d)...)
	}
	for _, network := range subject.Networks {
		why := "network policies are about the pod's interface in the cluster's network only"
		for d := range directions {
			report.Residual = append(report.Residual, Flow{Direction: d.String(), Peer: "anything in the network " + network, Ports: everyPort().String(), Reason: why})
		}
	}
	if len(report.Residual) > 0 {
		report.Verdict = Residual
	} else if cni.cutsConnections() {
		report.Connections = Cut
	}
	report.Notes = w.notes(cni, &report)
	return report
}

// notes say what a verdict leaves out.
func (w *world) notes(cni CNI, report *Report) []string {
	notes := []string{"Traffic of the pod with its own node and with itself always remains possible."}
	if report.Connections == MayPersist {
		notes = append(notes, fmt.Sprintf("Connections that are open may persist: %s is not known to ask the policies about each packet. Ending the pod ends them.", cni))
	}
	ignored := map[string]int{}
	for _, p := range w.policies {
		if cni.enforces(p.api).is == never {
			ignored[p.kind]++
		}
	}
	for _, kind := range sortedKeys(ignored) {
		notes = append(notes, fmt.Sprintf("%d of kind %s are ignored: %s does not enforce them.", ignored[kind], kind, cni))
	}
	if cni == Cilium {
		notes = append(notes, "It is assumed that Cilium enforces policies by default (policy-enforcement-mode) and counts the quarantine label as relevant for identities (labels).")
	}
	if report.Verdict == Isolated {
		notes = append(notes, "Of protocols other than TCP, UDP and SCTP, NetworkPolicies say nothing: what becomes of ICMP is the provider's choice.")
	}
	return notes
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// proveUnknown proves for each provider that there is. What remains with all of them remains; otherwise it depends.
func (w *world) proveUnknown(subject *Pod) Report {
	var best Report
	var isolating, open []string
	for _, cni := range CNIs() {
		if cni == None {
			continue
		}
		report := w.prove(cni, subject)
		if report.Verdict == Isolated {
			isolating = append(isolating, string(cni))
			continue
		}
		open = append(open, fmt.Sprintf("%s (%d flows)", cni, len(report.Residual)))
		if best.Residual == nil || len(report.Residual) < len(best.Residual) {
			best = report
		}
	}
	if len(isolating) == 0 {
		best.Connections = MayPersist
		best.Notes = []string{
			"The provider of the network is not known. With each that this proof knows something remains; what is listed is the least of it.",
			best.Notes[0],
		}
		return best
	}
	report := Report{Verdict: Unverified, Residual: []Flow{}, Connections: MayPersist, Notes: []string{
		"The provider of the network is not known, nor whether it enforces policies. Name it to have a proof.",
		"The pod is isolated if it is " + strings.Join(isolating, " or ") + ".",
	}}
	if len(open) > 0 {
		report.Notes = append(report.Notes, "Something remains if it is "+strings.Join(open, " or ")+".")
	}
	report.Notes = append(report.Notes, "Traffic of the pod with its own node and with itself always remains possible.")
	return report
}

func join[T ~string](list []T) string {
	var texts []string
	for _, t := range list {
		texts = append(texts, string(t))
	}
	return strings.Join(texts, ", ")
}

// maxSize bounds the rules of one direction that are about one pod: their number, with that of selectors, addresses and ports in them.
// The work is its square. Nobody writes so many, unless to stall the proof: then nothing is proved.
const maxSize = 10_000

func sizeOf(stages []stage, d direction) (size int) {
	for s := range stages {
		for _, group := range stages[s].groups {
			for _, b := range group {
				for i := range b.rules[d] {
					size += b.rules[d][i].size()
				}
			}
		}
	}
	return size
}

// residual are the flows of one direction that remain. It walks all stages for each kind of peer that the policies tell apart: any pod, the
// pods of each rule that accepts, each range of addresses, the other nodes.
func (w *world) residual(cni CNI, subject *Pod, d direction) []Flow {
	stages := w.stages(cni, subject, d)
	if size := sizeOf(stages, d); size > maxSize {
		why := fmt.Sprintf("the policies that are about the pod take about %d comparisons for each peer, more than %d: too many to prove anything; remove some", size, maxSize)
		return []Flow{{Direction: d.String(), Peer: anything, Ports: everyPort().String(), Reason: why}}
	}
	flows := newFlows(w, stages, subject, d)
	for _, a := range w.atoms(cni, stages, d) {
		w.walk(stages, d, &a, func(x decision) {
			if x.action == accept && counts(&x, &a) {
				flows.add(x, &a)
			}
		})
	}
	return flows.list()
}

// counts says whether an accept counts for the atom. One that is about some of the pods only counts for the atom of those pods, which is
// walked, too. One that is about addresses, which pods and nodes may have, counts for all of these: the addresses themselves are
// walked, too, but a rule about pods or nodes may have passed them where it did not pass other addresses.
func counts(x *decision, a *atom) bool {
	if x.rule == nil || x.match == always || x.rule == a.of {
		return true
	}
	p := &x.rule.peers
	switch a.kind {
	case otherNodes:
		return true
	case somePods:
		return a.condition.everything() && p.netsOfPods && len(p.nets) > 0
	default:
		return false
	}
}

// atoms are the kinds of peers that the policies tell apart.
func (w *world) atoms(cni CNI, stages []stage, d direction) []atom {
	atoms := []atom{{kind: somePods}, {kind: otherNodes}}
	var nets []addresses
	for s := range stages {
		for g, group := range stages[s].groups {
			for n, b := range group {
				for i := range b.rules[d] {
					r := &b.rules[d][i]
					if len(r.peers.nets) > 0 {
						nets = append(nets, r.peers.nets)
					}
					if r.action != accept {
						continue
					}
					for _, c := range r.peers.pods {
						if !c.everything() && c.possible(w.namespaces) {
							atoms = append(atoms, atom{kind: somePods, condition: c, of: r, at: place{s, g, n}})
						}
					}
				}
			}
		}
	}
	for _, cell := range cells(nets) {
		atoms = append(atoms, atom{kind: someAddresses, cell: cell})
	}
	if cni == Cilium {
		for _, entity := range []string{"init", "ingress", "health", "unmanaged", "kube-apiserver"} {
			atoms = append(atoms, atom{kind: someEntity, entity: entity})
		}
	}
	return atoms
}

// Reachable says whether a new connection is possible, and why: by the egress policies of the one end and the ingress policies of the other.
// What is not known for sure is possible. Protocol is TCP, UDP or SCTP, in any case; another one is taken as one without ports.
func (c *Cluster) Reachable(from, to Endpoint, port int32, protocol string) (bool, string) {
	if same(from.Pod, to.Pod) {
		return true, "a pod always reaches itself"
	}
	w, err := newWorld(c)
	if err != nil {
		return true, err.Error()
	}
	p, _ := parseProtocol(protocol)
	ports := portsOf(p, port, port)
	candidates := []CNI{c.CNI}
	if c.CNI == "" {
		candidates = CNIs()[:len(CNIs())-1]
	}
	var why string
	for _, cni := range candidates {
		var possible bool
		if possible, why = w.reachable(cni, from, to, ports); possible {
			return true, why
		}
	}
	return false, why
}

func same(a, b *Pod) bool {
	return a != nil && b != nil && a.Namespace == b.Namespace && a.Name == b.Name
}

func (w *world) reachable(cni CNI, from, to Endpoint, ports portSet) (bool, string) {
	if cni == None || !cni.Known() {
		return true, "nothing is known to enforce policies"
	}
	if from.Pod != nil && to.Pod != nil && from.Pod.Node != "" && from.Pod.Node == to.Pod.Node && (from.Pod.HostNetwork || to.Pod.HostNetwork) {
		return true, "a pod and its own node always reach each other"
	}
	var reasons []string
	for _, end := range []struct {
		d           direction
		self, other Endpoint
	}{{egress, from, to}, {ingress, to, from}} {
		if end.self.Pod == nil || end.self.Pod.HostNetwork {
			continue
		}
		other := w.atomOf(end.other)
		possible, why := w.permitted(w.stages(cni, end.self.Pod, end.d), end.d, &other, ports)
		if !possible {
			return false, why
		}
		reasons = append(reasons, why)
	}
	return true, strings.Join(reasons, "; ")
}

// permitted says whether the subject's policies permit traffic with one endpoint on some of the ports, and which of them says so.
func (w *world) permitted(stages []stage, d direction, a *atom, ports portSet) (possible bool, why string) {
	why = d.String() + " denied"
	w.walk(stages, d, a, func(x decision) {
		if possible || x.ports.intersect(ports).empty() {
			return
		}
		switch {
		case x.policy == nil:
			why = fmt.Sprintf("no policy decides about %s", d)
		case x.action == accept:
			why = fmt.Sprintf("%s accepted by %s", d, x.policy.title())
		default:
			why = fmt.Sprintf("%s denied by %s", d, x.policy.title())
		}
		possible = x.action == accept
	})
	return possible, why
}
