package isolation

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// quarantineLabel is on a pod that is isolated, with the name of its Quarantine. It is the label of
// runtime/v1alpha1, which stands above this package.
const quarantineLabel = "runtime.portcullis.dev/quarantine"

// Names of the objects that isolate, as in runtime/v1alpha1.
const (
	networkPolicyPrefix = "portcullis-q-"
	denyTierName        = "portcullis-quarantine"
)

// API is an API with a tier of denies that stands before NetworkPolicies.
type API string

// The APIs, best first.
const (
	ClusterNetworkPolicy           API = "ClusterNetworkPolicy"
	AdminNetworkPolicy             API = "AdminNetworkPolicy"
	CiliumClusterwideNetworkPolicy API = "CiliumClusterwideNetworkPolicy"
	GlobalNetworkPolicy            API = "GlobalNetworkPolicy"
)

// Measures are what isolates a pod.
type Measures struct {
	// Quarantine is its name: the value of the label, and the end of the NetworkPolicy's name.
	Quarantine string
	// Detach says that all other labels of the pod are taken off.
	Detach bool
	// DenyTier is the API of the standing deny, "" for none.
	DenyTier API
	// Standing says that the standing deny is among the cluster's policies already: nothing is added, and it is judged as it is there.
	Standing bool
}

// Simulate is the cluster and the pod as they will be after the measures. What it is given is not changed.
func Simulate(c *Cluster, subject Pod, m Measures) (*Cluster, Pod) {
	labels := maps.Clone(subject.Labels)
	if m.Detach || labels == nil {
		labels = map[string]string{}
	}
	labels[quarantineLabel] = m.Quarantine
	subject.Labels = labels

	after := *c
	after.Policies = append(slices.Clone(c.Policies), NetworkPolicy(m.Quarantine, subject.Namespace))
	if object, resource := DenyTier(m.DenyTier); !m.Standing && !resource.Empty() {
		after.Policies = append(after.Policies, object)
	}
	after.Pods = slices.Clone(c.Pods)
	for i, pod := range after.Pods {
		if pod.Namespace == subject.Namespace && pod.Name == subject.Name {
			after.Pods[i] = subject
		}
	}
	return &after, subject
}

// NetworkPolicy is the policy for one quarantine: it selects the pod by its label, and allows nothing.
func NetworkPolicy(quarantine, namespace string) Object {
	return marshal(map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": map[string]any{
			"name": networkPolicyPrefix + quarantine, "namespace": namespace,
			"labels": map[string]any{quarantineLabel: quarantine},
		},
		"spec": map[string]any{
			"podSelector": map[string]any{"matchLabels": map[string]any{quarantineLabel: quarantine}},
			"policyTypes": []any{"Ingress", "Egress"},
		},
	})
}

func marshal(value any) Object {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("marshalling a manifest: %v", err)) // maps, lists and strings only
	}
	return raw
}
