package isolation

import "k8s.io/apimachinery/pkg/runtime/schema"

// calicoDenyOrder is before every policy of the default tier that people write.
const calicoDenyOrder = -1_000_000

// DenyTier is the standing deny on all pods with the quarantine label, whatever its value, as an object of the API; nothing, and an
// empty resource, for an API that is not one of the constants. It is installed once: from then on one label isolates.
//
// None of them cuts a pod off from its own node, whose kubelet probes it: a pod whose probes fail is restarted, and its memory lost.
func DenyTier(api API) (Object, schema.GroupVersionResource) {
	switch api {
	case ClusterNetworkPolicy:
		return clusterDeny(policyGroup+"/v1alpha2", "ClusterNetworkPolicy", map[string]any{"tier": adminTier}),
			schema.GroupVersionResource{Group: policyGroup, Version: "v1alpha2", Resource: "clusternetworkpolicies"}
	case AdminNetworkPolicy:
		return clusterDeny(policyGroup+"/v1alpha1", "AdminNetworkPolicy", nil),
			schema.GroupVersionResource{Group: policyGroup, Version: "v1alpha1", Resource: "adminnetworkpolicies"}
	case CiliumClusterwideNetworkPolicy:
		return ciliumDeny(), schema.GroupVersionResource{Group: ciliumGroup, Version: "v2", Resource: "ciliumclusterwidenetworkpolicies"}
	case GlobalNetworkPolicy:
		return calicoDeny(), schema.GroupVersionResource{Group: calicoGroup, Version: "v3", Resource: "globalnetworkpolicies"}
	default:
		return nil, schema.GroupVersionResource{}
	}
}

func denyObject(apiVersion, kind string, spec map[string]any) Object {
	return marshal(map[string]any{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"name": denyTierName, "labels": map[string]any{"app.kubernetes.io/managed-by": "portcullis"}},
		"spec":     spec,
	})
}

// labelled selects what has the quarantine label.
func labelled() map[string]any {
	return map[string]any{"matchExpressions": []any{map[string]any{"key": quarantineLabel, "operator": "Exists"}}}
}

// clusterDeny is a policy of policy.networking.k8s.io before all others. Its peers of ingress are pods only: traffic from outside the
// cluster is for the NetworkPolicy of the quarantine. Networks are addresses of pods, too.
func clusterDeny(apiVersion, kind string, more map[string]any) Object {
	everyPod := map[string]any{"namespaces": map[string]any{}}
	spec := map[string]any{
		"priority": 0,
		"subject":  map[string]any{"pods": map[string]any{"namespaceSelector": map[string]any{}, "podSelector": labelled()}},
		"ingress":  []any{map[string]any{"name": "quarantine", "action": "Deny", "from": []any{everyPod}}},
		"egress": []any{map[string]any{"name": "quarantine", "action": "Deny", "to": []any{
			everyPod, map[string]any{"networks": []any{"0.0.0.0/0", "::/0"}},
		}}},
	}
	for key, value := range more {
		spec[key] = value
	}
	return denyObject(apiVersion, kind, spec)
}

// ciliumDeny denies everybody but the entity host. A rule has peers of one kind only (Cilium refuses to combine them).
func ciliumDeny() Object {
	entities := []any{"world", "remote-node", "kube-apiserver", "init", "ingress", "health", "unmanaged"}
	everyEndpoint := []any{map[string]any{}}
	return denyObject(ciliumGroup+"/v2", "CiliumClusterwideNetworkPolicy", map[string]any{
		"description":      "No traffic for pods in quarantine, whatever other policies allow.",
		"endpointSelector": labelled(),
		"ingressDeny":      []any{map[string]any{"fromEndpoints": everyEndpoint}, map[string]any{"fromEntities": entities}},
		"egressDeny":       []any{map[string]any{"toEndpoints": everyEndpoint}, map[string]any{"toEntities": entities}},
	})
}

// calicoDeny is in the default tier, which exists everywhere, before all of it. What an earlier tier allows remains, and the proof tells it.
func calicoDeny() Object {
	return denyObject(calicoGroup+"/v3", "GlobalNetworkPolicy", map[string]any{
		"tier":     defaultTier,
		"order":    calicoDenyOrder,
		"selector": "has(" + quarantineLabel + ")",
		"types":    []any{"Ingress", "Egress"},
		"ingress":  []any{map[string]any{"action": "Deny"}},
		"egress":   []any{map[string]any{"action": "Deny"}},
	})
}
