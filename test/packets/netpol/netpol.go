// Package netpol holds the reachability tables of Kubernetes' own end-to-end tests of
// NetworkPolicy as data: which pods there are, which policies are in force, and which pod
// then reaches which. Whatever claims to know what a NetworkPolicy allows can be held to
// them, be it a computation or an enforcer.
//
// They are written down from k8s.io/kubernetes v1.37.2, test/e2e/network/netpol/network_policy.go
// (Copyright The Kubernetes Authors, Apache License 2.0), test by test, under its names and
// in its order. What upstream does to a cluster in between (a policy updated or deleted,
// a label added) is a further step here. As there, a pod's traffic with itself says nothing.
package netpol

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Case is one test of upstream.
type Case struct {
	// Suite is upstream's name of the group, Name that of the test within it.
	Suite, Name string
	// Pods are NAMESPACE/NAME, in namespaces x, y and z. Each has the label pod: NAME.
	Pods []string
	// Protocols and Ports are what each pod serves, all with all.
	Protocols []corev1.Protocol
	Ports     []int32
	Steps     []Step
}

// Step is a state of the cluster, and who reaches whom in it.
type Step struct {
	// Policies are manifests, one each. IP(x/a) in them stands for the address of that
	// pod, and WIDE(x/a) for the /4 network around it.
	Policies []string
	// PodLabels by NAMESPACE/NAME and NamespaceLabels by name are added to those that there are.
	PodLabels, NamespaceLabels map[string]map[string]string
	Tables                     []Table
}

// Table says who reaches whom on a port.
type Table struct {
	Protocol corev1.Protocol
	Port     int32
	// Rules are applied one after the other to a table in which everybody reaches everybody.
	Rules []Rule
}

// Rule sets a part of a table. From and To are NAMESPACE/NAME, NAMESPACE/* or *.
type Rule struct {
	From, To  string
	Connected bool
}

// Connected says whether one pod has to reach the other.
func (t *Table) Connected(from, to string) bool {
	connected := true
	for _, rule := range t.Rules {
		if matches(rule.From, from) && matches(rule.To, to) {
			connected = rule.Connected
		}
	}
	return connected
}

func matches(pattern, pod string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(pod, prefix)
	}
	return pattern == pod
}

// Objects are the pods and namespaces of a step, with the addresses that the pods have.
func (c *Case) Objects(step *Step, addresses map[string][]netip.Addr) ([]corev1.Pod, []corev1.Namespace) {
	var pods []corev1.Pod
	for _, name := range c.Pods {
		pods = append(pods, c.pod(name, step, addresses[name]))
	}
	var namespaces []corev1.Namespace
	for _, name := range []string{"x", "y", "z"} {
		labels := with(map[string]string{corev1.LabelMetadataName: name}, step.NamespaceLabels[name])
		namespaces = append(namespaces, corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	}
	return pods, namespaces
}

func (c *Case) pod(name string, step *Step, addresses []netip.Addr) corev1.Pod {
	namespace, short, _ := strings.Cut(name, "/")
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: short, Labels: with(map[string]string{"pod": short}, step.PodLabels[name])},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "serve", Ports: c.containerPorts()}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, address := range addresses {
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: address.String()})
	}
	return pod
}

// containerPorts have the names that upstream gives them: serve-80-tcp.
func (c *Case) containerPorts() []corev1.ContainerPort {
	var ports []corev1.ContainerPort
	for _, protocol := range c.Protocols {
		for _, port := range c.Ports {
			name := fmt.Sprintf("serve-%d-%s", port, strings.ToLower(string(protocol)))
			ports = append(ports, corev1.ContainerPort{Name: name, Protocol: protocol, ContainerPort: port})
		}
	}
	return ports
}

// placeholder is IP(x/a) or WIDE(x/a).
var placeholder = regexp.MustCompile(`(IP|WIDE)\(([a-z]+/[a-z]+)\)`)

// wideBits is the size of the network around a pod in upstream's makeLargeCIDRForIP.
const wideBits = 4

// NetworkPolicies are those of the step. The first address of a pod is the one that they name.
func (s *Step) NetworkPolicies(addresses map[string][]netip.Addr) ([]networkingv1.NetworkPolicy, error) {
	var policies []networkingv1.NetworkPolicy
	for _, manifest := range s.Policies {
		text := placeholder.ReplaceAllStringFunc(manifest, func(found string) string {
			parts := placeholder.FindStringSubmatch(found)
			address := addresses[parts[2]][0]
			if parts[1] == "WIDE" {
				return netip.PrefixFrom(address, wideBits).Masked().String()
			}
			return netip.PrefixFrom(address, address.BitLen()).String()
		})
		policy := networkingv1.NetworkPolicy{TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"}}
		if err := yaml.UnmarshalStrict([]byte(text), &policy); err != nil {
			return nil, fmt.Errorf("reading the policy %s: %w", text, err)
		}
		policies = append(policies, policy)
	}
	return policies, nil
}

func with(labels, more map[string]string) map[string]string {
	for key, value := range more {
		labels[key] = value
	}
	return labels
}
