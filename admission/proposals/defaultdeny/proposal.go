package defaultdeny

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
)

// The directions of NetworkPolicies.
const (
	Ingress = "Ingress"
	Egress  = "Egress"
)

// PolicyName is that of each proposed NetworkPolicy.
const PolicyName = "default-deny"

// system are the namespaces of Kubernetes itself. Nothing is proposed for them: what their pods need is not seen
// in Services, and a cluster without DNS or network agents is down.
var system = []string{"kube-system", "kube-public", "kube-node-lease"}

// Options say what is proposed.
type Options struct {
	// Directions are those that are denied; both if empty.
	Directions []string
	// DNS are the pods that names are asked of, the zero value for those of Kubernetes.
	DNS DNS
	// SameNamespace leaves the traffic among the pods of a namespace as it is.
	SameNamespace bool
	// Namespace says for which namespaces policies are proposed, nil for all.
	Namespace func(name string) bool
	// CNI enforces the policies, "" where it is not known: then hints suppose that they are enforced as Kubernetes says.
	CNI isolation.CNI
}

// DNS are the pods that answer names.
type DNS struct {
	Namespace string
	Labels    map[string]string
}

// KubernetesDNS is where the cluster's DNS runs: the labels are those that kubeadm, and the clouds, give it.
func KubernetesDNS() DNS {
	return DNS{Namespace: "kube-system", Labels: map[string]string{"k8s-app": "kube-dns"}}
}

// Proposal is a NetworkPolicy for one namespace.
type Proposal struct {
	Namespace string `json:"namespace"`
	// Directions are those that nothing denies by default yet.
	Directions []string `json:"directions"`
	Pods       int      `json:"pods"`
	// Hints are workloads that lose something.
	Hints []Hint `json:"hints,omitempty"`
	// Untouched are pods that no NetworkPolicy is about: those of the node's network.
	Untouched int `json:"untouched,omitempty"`

	options Options
}

// Hint is a workload that the proposal cuts off from something.
type Hint struct {
	Workload string `json:"workload"` // "Deployment/web"
	Pods     int    `json:"pods"`
	// Needs are signs that somebody talks to it: "Service web (TCP 8080), which Ingress shop sends to".
	Needs []string `json:"needs,omitempty"`
	// Loses is traffic that is possible today and would not be.
	Loses []string `json:"loses"`

	selector map[string]string
	ports    []string
}

// Proposals are those for all namespaces that lack a policy that selects every pod, by name, and what else there is to know.
func (s *Survey) Proposals(options Options) (proposals []Proposal, notes []string, err error) {
	options = options.orDefault()
	var passed []string
	for _, name := range slices.Sorted(maps.Keys(s.namespaces)) {
		missing := s.missing(name, options.Directions)
		switch {
		case len(missing) == 0 || options.Namespace != nil && !options.Namespace(name):
			continue
		case slices.Contains(system, name):
			passed = append(passed, name)
			continue
		case !label.MatchString(name):
			s.unread++ // a dump's: no API server has a namespace of this name
			continue
		}
		proposal, err := s.propose(name, missing, options)
		if err != nil {
			return nil, nil, err
		}
		proposals = append(proposals, proposal)
	}
	return proposals, s.notes(passed), nil
}

// label is what namespaces are called (RFC 1123).
var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (o Options) orDefault() Options {
	if len(o.Directions) == 0 {
		o.Directions = []string{Ingress, Egress}
	}
	if o.DNS.Namespace == "" {
		o.DNS = KubernetesDNS()
	}
	if o.CNI == "" {
		o.CNI = isolation.KubeNetworkPolicies
	}
	return o
}

// missing are the directions in which no policy is about all pods of a namespace.
func (s *Survey) missing(namespace string, directions []string) []string {
	var missing []string
	for _, direction := range directions {
		if !slices.ContainsFunc(s.policies[namespace], func(p networkPolicy) bool { return p.everyPod && slices.Contains(p.directions, direction) }) {
			missing = append(missing, direction)
		}
	}
	return missing
}

func (s *Survey) propose(namespace string, missing []string, options Options) (Proposal, error) {
	p := Proposal{Namespace: namespace, Directions: missing, options: options}
	before := &isolation.Cluster{CNI: options.CNI, Policies: slices.Clone(s.wide)}
	for _, policy := range s.policies[namespace] {
		before.Policies = append(before.Policies, policy.raw)
	}
	for _, n := range s.namespaces {
		before.Namespaces = append(before.Namespaces, n)
	}
	after := *before
	after.Policies = append(slices.Clone(before.Policies), p.Object())
	for _, g := range s.groupsOf(namespace) {
		p.Pods += g.pods
		if g.pod.HostNetwork {
			p.Untouched += g.pods
			continue
		}
		lost, err := lost(before, &after, g.pod)
		if err != nil {
			return p, fmt.Errorf("computing what %s of namespace %s would lose: %w", g.Workload, namespace, err)
		}
		if len(lost) > 0 {
			needs, ports := s.needs(g)
			p.Hints = append(p.Hints, Hint{Workload: g.Workload.String(), Pods: g.pods, Needs: needs, Loses: lost, selector: g.pod.Labels, ports: ports})
		}
	}
	return p, nil
}

// lost is the traffic of a pod that is possible under the one and not under the other policies.
func lost(before, after *isolation.Cluster, pod isolation.Pod) ([]string, error) {
	now, err := isolation.Evaluate(before, pod)
	if err != nil {
		return nil, err
	}
	then, err := isolation.Evaluate(after, pod)
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, flow := range now.Residual {
		// By which policy, and why nothing stops it, may change while the traffic stays.
		if !slices.ContainsFunc(then.Residual, func(f isolation.Flow) bool {
			return f.Direction == flow.Direction && f.Peer == flow.Peer && f.Ports == flow.Ports
		}) {
			gone = append(gone, flow.String())
		}
	}
	return gone, nil
}

// needs are the Services that lead to a group, in words, and the ports that they lead to.
func (s *Survey) needs(g *group) (words, ports []string) {
	for _, service := range s.services[g.namespace] {
		if !selects(service.selector, g.pod.Labels) {
			continue
		}
		var targets []string
		for _, port := range service.ports {
			if target, ok := port.target(&g.pod); ok && !slices.Contains(targets, target) {
				targets = append(targets, target)
			}
		}
		text := fmt.Sprintf("Service %s (%s)", service.name, strings.Join(targets, ", "))
		var from []string
		for _, ingress := range s.ingresses[g.namespace] {
			if slices.Contains(ingress.services, service.name) {
				from = append(from, "Ingress "+ingress.name)
			}
		}
		if len(from) > 0 {
			text += ", which " + strings.Join(from, " and ") + " sends to"
		}
		words = append(words, text)
		for _, target := range targets {
			if !slices.Contains(ports, target) {
				ports = append(ports, target)
			}
		}
	}
	slices.Sort(words)
	slices.Sort(ports)
	return words, ports
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if own, ok := labels[key]; !ok || own != value {
			return false
		}
	}
	return true
}

// target is the port of the pod that a port of a Service leads to: "TCP 8080". A name that the pod does not have leads nowhere.
func (p *servicePort) target(pod *isolation.Pod) (string, bool) {
	protocol := p.Protocol
	if protocol == "" {
		protocol = "TCP"
	}
	text := strings.Trim(string(p.TargetPort), `"`)
	if text == "" || text == "null" || text == "0" {
		return fmt.Sprintf("%s %d", protocol, p.Port), true
	}
	if _, err := strconv.ParseUint(text, 10, 16); err == nil {
		return protocol + " " + text, true
	}
	for _, port := range pod.Ports {
		if port.Name == text {
			return fmt.Sprintf("%s %d", protocol, port.Port), true
		}
	}
	return "", false
}

// Object is the NetworkPolicy as JSON.
func (p *Proposal) Object() json.RawMessage {
	spec := map[string]any{"podSelector": map[string]any{}, "policyTypes": p.Directions}
	everyPodHere := map[string]any{"podSelector": map[string]any{}}
	if slices.Contains(p.Directions, Ingress) && p.options.SameNamespace {
		spec["ingress"] = []any{map[string]any{"from": []any{everyPodHere}}}
	}
	if slices.Contains(p.Directions, Egress) {
		rules := []any{map[string]any{
			"to": []any{map[string]any{
				"namespaceSelector": map[string]any{"matchLabels": map[string]string{"kubernetes.io/metadata.name": p.options.DNS.Namespace}},
				"podSelector":       map[string]any{"matchLabels": p.options.DNS.Labels},
			}},
			"ports": []any{map[string]any{"protocol": "UDP", "port": 53}, map[string]any{"protocol": "TCP", "port": 53}},
		}}
		if p.options.SameNamespace {
			rules = append(rules, map[string]any{"to": []any{everyPodHere}})
		}
		spec["egress"] = rules
	}
	object, err := json.Marshal(map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": map[string]any{"name": PolicyName, "namespace": p.Namespace}, "spec": spec,
	})
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return object
}

func (s *Survey) notes(passed []string) []string {
	var notes []string
	if len(passed) > 0 {
		notes = append(notes, fmt.Sprintf("Nothing is proposed for %s: a cluster whose own programs are cut off is down.", strings.Join(passed, ", ")))
	}
	if s.beyond > 0 {
		notes = append(notes, fmt.Sprintf("%d objects had no room, so that hints may be missing: name fewer namespaces.", s.beyond))
	}
	if s.unread > 0 {
		notes = append(notes, fmt.Sprintf("%d objects could not be read, so that hints may be missing.", s.unread))
	}
	return notes
}
