package isolation

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// CNI is the provider of the cluster's network: it decides which policies are enforced, and in which order.
type CNI string

// The providers. "" is one that is not known.
const (
	Calico              CNI = "calico"
	Cilium              CNI = "cilium"
	Antrea              CNI = "antrea"
	OVNKubernetes       CNI = "ovn-kubernetes"
	KubeNetworkPolicies CNI = "kube-network-policies"
	None                CNI = "none" // flannel and others that enforce nothing
)

// CNIs are the providers that can be named.
func CNIs() []CNI {
	return []CNI{Calico, Cilium, Antrea, OVNKubernetes, KubeNetworkPolicies, None}
}

// Known says whether it is one of CNIs.
func (c CNI) Known() bool { return slices.Contains(CNIs(), c) }

// APIs of policies beside those in which a standing deny can be written.
const (
	networkPolicies API = "NetworkPolicy"
	antreaPolicies  API = "Antrea"
	unknownAPI      API = ""
)

// enforcement says whether a provider enforces an API (always), does not (never), or does in some versions or
// configurations (perhaps), and then which.
type enforcement struct {
	is        truth
	condition string
}

// enforces is the table of what each provider enforces, as of summer 2026.
//
//   - NetworkPolicy: all five.
//   - ClusterNetworkPolicy (policy.networking.k8s.io): kube-network-policies; Calico from v3.32 on; OVN-Kubernetes and Antrea not in a release
//     at the time of writing (network-policy-api.sigs.k8s.io/implementations).
//   - AdminNetworkPolicy: OVN-Kubernetes; Antrea behind the feature gate AdminNetworkPolicy, which is off by default; Calico v3.29 to v3.31;
//     kube-network-policies before it turned to ClusterNetworkPolicy.
//   - Cilium implements neither of the two (cilium/cilium#23380), but its own.
//   - Antrea's own policies (crd.antrea.io) are enforced and not understood here.
func (c CNI) enforces(api API) enforcement {
	switch {
	case c == None:
		return enforcement{is: never}
	case api == networkPolicies,
		c == Calico && api == GlobalNetworkPolicy,
		c == Cilium && api == CiliumClusterwideNetworkPolicy,
		c == Antrea && api == antreaPolicies,
		c == OVNKubernetes && api == AdminNetworkPolicy,
		c == KubeNetworkPolicies && api == ClusterNetworkPolicy:
		return enforcement{is: always}
	case c == Calico && api == ClusterNetworkPolicy:
		return enforcement{is: perhaps, condition: "Calico enforces it from v3.32 on"}
	case c == Calico && api == AdminNetworkPolicy:
		return enforcement{is: perhaps, condition: "Calico enforces it in v3.29 to v3.31 only"}
	case c == Antrea && api == AdminNetworkPolicy:
		return enforcement{is: perhaps, condition: "Antrea enforces it behind a feature gate that is off by default"}
	case (c == Antrea || c == OVNKubernetes) && api == ClusterNetworkPolicy:
		return enforcement{is: perhaps, condition: "no release that is known to this proof enforces it"}
	case c == KubeNetworkPolicies && api == AdminNetworkPolicy:
		return enforcement{is: perhaps, condition: "only older builds of kube-network-policies enforce it"}
	default:
		return enforcement{is: never}
	}
}

// cutsConnections says whether the provider asks the policies about each packet, so that connections that are open end, too.
// Kubernetes leaves it to the provider (kubernetes/website#43438). Calico keeps them (projectcalico/calico#2759), Antrea does
// (antrea-io/antrea#5381), kube-network-policies checks new ones unless it is told to be strict.
func (c CNI) cutsConnections() bool { return c == OVNKubernetes }

// Resources are the kinds that a proof reads, beside pods and namespaces. Whoever lists a cluster lists those that it serves. A cluster that
// serves several versions of one needs one of them only.
func Resources() []schema.GroupVersionResource {
	of := func(group, version string, resources ...string) []schema.GroupVersionResource {
		var all []schema.GroupVersionResource
		for _, resource := range resources {
			all = append(all, schema.GroupVersionResource{Group: group, Version: version, Resource: resource})
		}
		return all
	}
	return slices.Concat(
		of("networking.k8s.io", "v1", "networkpolicies"),
		of(policyGroup, "v1beta1", "clusternetworkpolicies"),
		of(policyGroup, "v1alpha2", "clusternetworkpolicies"),
		of(policyGroup, "v1alpha1", "adminnetworkpolicies", "baselineadminnetworkpolicies"),
		of(ciliumGroup, "v2", "ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"),
		of(calicoGroup, "v3", "tiers", "networkpolicies", "globalnetworkpolicies", "networksets", "globalnetworksets", "hostendpoints"),
		of(calicoStorageGroup, "v1", "tiers", "networkpolicies", "globalnetworkpolicies", "networksets", "globalnetworksets", "hostendpoints"),
		of(antreaGroup, "v1beta1", "networkpolicies", "clusternetworkpolicies"),
	)
}

// The groups.
const (
	policyGroup        = "policy.networking.k8s.io"
	ciliumGroup        = "cilium.io"
	calicoGroup        = "projectcalico.org"
	calicoStorageGroup = "crd.projectcalico.org" // how Calico keeps them without its API server; names are prefixed by the tier
	antreaGroup        = "crd.antrea.io"
)
