package isolation

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
)

// The annotations of pods that matter.
const (
	mirrorAnnotation   = "kubernetes.io/config.mirror" // a static pod of the kubelet
	networksAnnotation = "k8s.v1.cni.cncf.io/networks" // interfaces in further networks (Multus)
)

// PodOf is what a proof needs to know of a core/v1 Pod.
func PodOf(manifest Object) (Pod, error) {
	var pod corev1.Pod
	if err := kjson.UnmarshalCaseSensitivePreserveInts(manifest, &pod); err != nil {
		return Pod{}, fmt.Errorf("decoding a pod: %w", err)
	}
	_, static := pod.Annotations[mirrorAnnotation]
	p := Pod{
		Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID), Node: pod.Spec.NodeName, ServiceAccount: pod.Spec.ServiceAccountName,
		Labels: pod.Labels, HostNetwork: pod.Spec.HostNetwork, Static: static,
	}
	for _, list := range pod.Status.PodIPs {
		if ip, err := netip.ParseAddr(list.IP); err == nil {
			p.IPs = append(p.IPs, ip)
		}
	}
	if ip, err := netip.ParseAddr(pod.Status.PodIP); err == nil && len(p.IPs) == 0 {
		p.IPs = []netip.Addr{ip}
	}
	// Init containers that keep running are sidecars; those that do not have no port for long.
	for _, container := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		for _, port := range container.Ports {
			p.Ports = append(p.Ports, Port{Name: port.Name, Port: port.ContainerPort, Protocol: string(port.Protocol)})
		}
	}
	if networks := strings.TrimSpace(pod.Annotations[networksAnnotation]); networks != "" {
		p.Networks = []string{networks}
	}
	return p, nil
}

// NamespaceOf is what a proof needs to know of a core/v1 Namespace.
func NamespaceOf(manifest Object) (Namespace, error) {
	var namespace corev1.Namespace
	if err := kjson.UnmarshalCaseSensitivePreserveInts(manifest, &namespace); err != nil {
		return Namespace{}, fmt.Errorf("decoding a namespace: %w", err)
	}
	return Namespace{Name: namespace.Name, Labels: namespace.Labels}, nil
}

// Add puts a Pod, a Namespace, a policy or a List of these where it belongs, and says whether it, or something of the list, was one of them.
func (c *Cluster) Add(manifest Object) (bool, error) {
	headers, err := headersOf([]Object{manifest})
	if err != nil {
		return false, err
	}
	added := false
	for _, h := range headers {
		one, err := c.addOne(h)
		if err != nil {
			return added, err
		}
		added = added || one
	}
	return added, nil
}

func (c *Cluster) addOne(h *header) (bool, error) {
	switch kind := h.GroupVersionKind(); {
	case kind.Group == "" && kind.Kind == "Pod":
		pod, err := PodOf(h.raw)
		if err != nil {
			return false, err
		}
		c.Pods = append(c.Pods, pod)
	case kind.Group == "" && kind.Kind == "Namespace":
		namespace, err := NamespaceOf(h.raw)
		if err != nil {
			return false, err
		}
		c.Namespaces = append(c.Namespaces, namespace)
	case isPolicyGroup(kind.Group):
		c.Policies = append(c.Policies, h.raw)
	default:
		return false, nil
	}
	return true, nil
}

func isPolicyGroup(group string) bool {
	return slices.ContainsFunc(Resources(), func(r schema.GroupVersionResource) bool { return r.Group == group })
}

// itemOf is an item of a list with the kind that the list implies: items of a list of one kind have none of their own.
func itemOf(list *header, item json.RawMessage) Object {
	var fields map[string]json.RawMessage
	if json.Unmarshal(item, &fields) != nil || fields["kind"] != nil || list.Kind == "List" {
		return item
	}
	fields["apiVersion"] = marshal(list.APIVersion)
	fields["kind"] = marshal(strings.TrimSuffix(list.Kind, "List"))
	return marshal(fields)
}
