package isolation

import (
	"net/netip"
	"slices"
	"strings"
)

// action is what a rule does with traffic that it matches.
type action int

const (
	deny action = iota
	accept
	pass // to the next stage
)

// peers are the other ends of traffic that a rule matches.
type peers struct {
	// pods are those that meet any of the conditions.
	pods []condition
	// nets are addresses; of pods and nodes, too, if netsOfPods.
	nets       addresses
	netsOfPods bool
	// nodes says whether the addresses of other nodes are matched beside nets.
	nodes truth
	// entities are those of Cilium that are neither pods, nodes nor addresses.
	entities []string
	// words are how they are told, "" for what pods and nets say.
	words string
}

// everybody is each pod, each node and each address.
func everybody() peers {
	return peers{pods: []condition{{}}, nets: everywhere(), netsOfPods: true, nodes: always, entities: []string{"all"}, words: anything}
}

// namedPort is a port by the name that a container gives it; of any protocol if protocol is negative.
type namedPort struct {
	name     string
	protocol protocol
}

const anyProtocol protocol = -1

// rule is one rule of a policy for one direction.
type rule struct {
	action action
	peers  peers
	ports  portSet
	named  []namedPort
	// vague says why the rule may match less than what is written here; "" if it matches exactly that. What is accepted vaguely is
	// assumed to be accepted, what is denied vaguely is not relied upon.
	vague string
}

// direction is an index.
type direction int

const (
	ingress direction = iota
	egress
	directions
)

func (d direction) String() string { return [directions]string{Ingress, Egress}[d] }

func (r *rule) size() int {
	size := 1 + len(r.peers.nets) + len(r.named)
	for _, c := range r.peers.pods {
		size += c.size()
	}
	for _, ranges := range r.ports {
		size += max(0, len(ranges)-1)
	}
	return size
}

// policy is one object of any kind, compiled.
type policy struct {
	// kind is the object's, name with its namespace; title is both: "NetworkPolicy shop/allow-dns".
	kind, name string
	// place says where it stands among others, for people: "tier Admin, priority 10".
	place string
	// api is by what it is known whether it is enforced.
	api API
	// subjects are the pods that it is about.
	subjects condition
	// rules by direction; about says whether the policy is about the direction at all.
	rules [directions][]rule
	about [directions]bool
	// defaultDeny says that what no policy of the stage matches is denied because of this one.
	defaultDeny [directions]bool
	// tier and order are where it stands.
	tier  string
	order float64
	// vague says why the policy is not understood; anySubject that not even whom it is about is.
	vague      string
	anySubject bool
}

func (p *policy) title() string { return p.kind + " " + p.name }

// atom is a set of peers that a walk treats as one: all pods that meet a condition, all addresses of a cell, the other nodes,
// or a single pod or address.
type atom struct {
	kind      atomKind
	condition condition // of somePods
	cell      span      // of someAddresses
	entity    string    // of someEntity
	of        *rule     // of somePods: the rule whose peers they are, nil for any pod
	at        place     // where that rule's policy is asked
	pod       *Pod      // of onePod
	namespace *Namespace
}

// place is where a policy stands among stages.
type place struct{ stage, group, index int }

type atomKind int

const (
	somePods atomKind = iota
	someAddresses
	otherNodes
	someEntity    // of Cilium, by its name
	podsByAddress // as they are told: no walk has them
	onePod
	oneNode // a pod in a node's network: cell is its address, if that is known
)

// matches says whether the peers of a rule are, or may be, those of the atom.
func (w *world) matches(p *peers, a *atom) truth {
	switch a.kind {
	case somePods:
		return w.matchesPods(p, a)
	case onePod:
		return matchesPod(p, a)
	case someAddresses:
		return truthOf(p.nets.contains(a.cell.first))
	case someEntity:
		return truthOf(slices.Contains(p.entities, a.entity) || slices.Contains(p.entities, "all"))
	default:
		return matchesNode(p, a)
	}
}

func (w *world) matchesPods(p *peers, a *atom) truth {
	result := never
	for _, condition := range p.pods {
		switch condition.given(a.condition, w.namespaces) {
		case always:
			return always
		case perhaps:
			result = perhaps
		}
	}
	if p.netsOfPods && len(p.nets) > 0 {
		if p.nets.all() {
			return always
		}
		return perhaps
	}
	return result
}

func matchesPod(p *peers, a *atom) truth {
	result := never
	look := ofPod(a.pod, a.namespace)
	for _, condition := range p.pods {
		switch condition.holds(look) {
		case always:
			return always
		case perhaps:
			result = perhaps
		}
	}
	if !p.netsOfPods || len(p.nets) == 0 {
		return result
	}
	if p.nets.all() {
		return always
	}
	inside := 0
	for _, ip := range a.pod.IPs {
		if p.nets.contains(ip.Unmap()) {
			inside++
		}
	}
	switch {
	case len(a.pod.IPs) > 0 && inside == len(a.pod.IPs):
		return always
	case inside > 0 || len(a.pod.IPs) == 0:
		return perhaps
	default:
		return result
	}
}

func matchesNode(p *peers, a *atom) truth {
	switch {
	case p.nodes == always:
		return always
	case p.nets.all() && p.netsOfPods:
		return always
	case a.kind == oneNode && a.cell.first.IsValid() && p.netsOfPods && p.nets.contains(a.cell.first):
		return always
	case p.nodes == perhaps:
		return perhaps
	case len(p.nets) > 0 && (a.kind == otherNodes || !a.cell.first.IsValid() || !p.netsOfPods):
		// Cilium has an option by which CIDRs match nodes (policy-cidr-match-mode).
		return perhaps
	default:
		return never
	}
}

// portsFor are the ports that a rule matches for an atom: surely, and at most. The ports of the subject's own names are
// resolved already.
func (r *rule) portsFor(a *atom) (surely, atMost portSet) {
	surely, atMost = r.ports, r.ports
	for _, named := range r.named {
		switch a.kind {
		case onePod:
			ports := named.of(a.pod)
			surely, atMost = surely.union(ports), atMost.union(ports)
		case somePods:
			atMost = atMost.union(named.anywhere())
		}
	}
	return surely, atMost
}

// of are the ports of a pod that have the name.
func (n namedPort) of(pod *Pod) portSet {
	var set portSet
	for _, port := range pod.Ports {
		p, ok := parseProtocol(port.Protocol)
		if ok && port.Name == n.name && (n.protocol == anyProtocol || n.protocol == p) {
			set = set.union(portsOf(p, port.Port, port.Port))
		}
	}
	return set
}

// anywhere are all ports that may have the name in some pod.
func (n namedPort) anywhere() portSet {
	var set portSet
	for _, p := range []protocol{tcp, udp, sctp} {
		if n.protocol == anyProtocol || n.protocol == p {
			set = set.union(portsOf(p, allPorts.first, allPorts.last))
		}
	}
	return set
}

// String is how peers are told.
func (p *peers) String() string {
	if p.words != "" {
		return p.words
	}
	var texts []string
	for _, condition := range p.pods {
		texts = append(texts, condition.String())
	}
	if len(p.nets) > 0 {
		texts = append(texts, p.nets.String())
	}
	if p.nodes == always {
		texts = append(texts, "other nodes")
	}
	for _, entity := range p.entities {
		texts = append(texts, "the entity "+entity)
	}
	if len(texts) == 0 {
		return "nobody"
	}
	return strings.Join(slices.Compact(texts), "; ")
}

// atomOf is the atom of one endpoint.
func (w *world) atomOf(e Endpoint) atom {
	switch {
	case e.Pod == nil:
		ip := e.IP.Unmap()
		return atom{kind: someAddresses, cell: span{ip, ip}}
	case e.Pod.HostNetwork:
		a := atom{kind: oneNode}
		if len(e.Pod.IPs) > 0 {
			a.cell = span{e.Pod.IPs[0].Unmap(), e.Pod.IPs[0].Unmap()}
		}
		return a
	default:
		pod := *e.Pod
		if e.IP.IsValid() {
			pod.IPs = []netip.Addr{e.IP}
		}
		return atom{kind: onePod, pod: &pod, namespace: w.namespaces[pod.Namespace]}
	}
}
