package isolation

import (
	"encoding/json"
	"net/netip"
)

// Object is any manifest as JSON, with apiVersion and kind.
type Object = json.RawMessage

// Pod is what a proof needs to know of a pod.
type Pod struct {
	Namespace      string            `json:"namespace"`
	Name           string            `json:"name"`
	UID            string            `json:"uid,omitempty"`
	Node           string            `json:"node,omitempty"`
	ServiceAccount string            `json:"serviceAccount,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	// HostNetwork pods share the node's addresses: no network policy is about them. Static ones are the kubelet's, whose
	// labels nobody changes through the API (annotation kubernetes.io/config.mirror).
	HostNetwork bool         `json:"hostNetwork,omitempty"`
	Static      bool         `json:"static,omitempty"`
	IPs         []netip.Addr `json:"ips,omitempty"`
	Ports       []Port       `json:"ports,omitempty"`
	// Networks are further networks that the pod has interfaces in (annotation k8s.v1.cni.cncf.io/networks), which
	// network policies are not about.
	Networks []string `json:"networks,omitempty"`
}

// Port is a port that a container declares.
type Port struct {
	Name     string `json:"name,omitempty"`
	Port     int32  `json:"port"`
	Protocol string `json:"protocol,omitempty"` // TCP if ""
}

// Namespace is a namespace with its labels. kubernetes.io/metadata.name is always known.
type Namespace struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Cluster is what a proof sees.
type Cluster struct {
	// Policies are objects of the kinds in [Resources]; others are ignored.
	Policies   []Object    `json:"policies"`
	Namespaces []Namespace `json:"namespaces"`
	Pods       []Pod       `json:"pods"`
	CNI        CNI         `json:"cni,omitempty"`
}

// Verdict is what a proof comes to. The zero value promises nothing.
type Verdict string

// The verdicts.
const (
	// Isolated says that no traffic remains possible, but with the pod's own node and with itself.
	Isolated Verdict = "Isolated"
	// Residual says that some does: Report.Residual says which.
	Residual Verdict = "Residual"
	// Unenforceable says that network policies do not reach the pod, or that nothing enforces them.
	Unenforceable Verdict = "Unenforceable"
	// Unverified says that it depends on the provider of the network, which is not known.
	Unverified Verdict = "Unverified"
)

// What becomes of connections that are open when a pod is isolated.
const (
	Cut        = "Cut"
	MayPersist = "MayPersist"
)

// The directions of a flow, as seen from the pod.
const (
	Ingress = "ingress"
	Egress  = "egress"
)

// Flow is traffic that remains possible, in words.
type Flow struct {
	Direction string `json:"direction"` // ingress or egress
	Peer      string `json:"peer"`      // "pods with app=dns in namespace kube-system"
	Ports     string `json:"ports"`     // "UDP 53", "any port"
	// Policy is what allows it, "NetworkPolicy shop/allow-dns"; "" where nothing forbids it.
	Policy string `json:"policy,omitempty"`
	// Reason says why nothing else stops it.
	Reason string `json:"reason,omitempty"`
}

// String is the flow in one line.
func (f Flow) String() string {
	way := "to " + f.Peer
	if f.Direction == Ingress {
		way = "from " + f.Peer
	}
	line := f.Direction + " " + way + ", " + f.Ports
	if f.Policy != "" {
		line += ": " + f.Policy
	}
	if f.Reason != "" {
		line += " (" + f.Reason + ")"
	}
	return line
}

// Report is the result of a proof.
type Report struct {
	Verdict  Verdict `json:"verdict"`
	Residual []Flow  `json:"residual"`
	// Connections says what becomes of those that are open: Cut or MayPersist.
	Connections string `json:"connections"`
	// Notes say what else there is to know. They do not change the verdict.
	Notes []string `json:"notes,omitempty"`
}

// Endpoint is one end of a connection: a pod of the cluster, or an address outside of it.
type Endpoint struct {
	Pod *Pod
	IP  netip.Addr
}
