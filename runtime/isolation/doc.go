// Package isolation computes which traffic remains possible to and from a pod under given network policies, and
// says whether that is none: the proof that a quarantine isolates.
//
// It is pure: what it knows of a cluster it is given as a [Cluster], and the same input has the same [Report],
// whatever its order. [Evaluate] proves, [Simulate] says how the cluster will be after measures that have not been taken
// yet, and [NetworkPolicy] and [DenyTier] are the objects that isolate.
//
// The proof never promises too much. Where it does not know something, it assumes the traffic: a label of a pod
// that does not exist yet, a field that it does not understand, an API that the provider may or may not enforce. Each such
// assumption is a [Flow] with its reason, so that [Isolated] means that there is nothing left to assume.
//
// The semantics are those of NetworkPolicy (networking.k8s.io/v1), ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2),
// AdminNetworkPolicy and BaselineAdminNetworkPolicy (v1alpha1 of the same), CiliumNetworkPolicy and
// CiliumClusterwideNetworkPolicy (cilium.io/v2), and NetworkPolicy, GlobalNetworkPolicy, Tier and NetworkSet of Calico
// (projectcalico.org/v3, or as stored, crd.projectcalico.org/v1). Which of them counts is the provider's business: see [CNI].
package isolation
