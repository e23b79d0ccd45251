package isolation_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/test/packets"
	"github.com/portcullis-dev/portcullis/test/packets/netpol"
)

// Kubernetes' own end-to-end tests of NetworkPolicy (k8s.io/kubernetes v1.37.2, test/e2e/network/netpol) say who reaches
// whom; package netpol has their tables. Cilium is not among the providers: its blocks of addresses are not about pods,
// which is why it skips three of the tests.
func TestReachabilityIsWhatKubernetesOwnTestsExpect(t *testing.T) {
	for _, cni := range []isolation.CNI{isolation.Calico, isolation.Antrea, isolation.OVNKubernetes, isolation.KubeNetworkPolicies} {
		for _, c := range netpol.Cases() {
			t.Run(fmt.Sprintf("%s/%s %s", cni, c.Suite, c.Name), func(t *testing.T) {
				addresses := map[string][]netip.Addr{}
				for i, name := range c.Pods {
					addresses[name] = []netip.Addr{netip.AddrFrom4([4]byte{10, 99, 0, byte(i + 2)})}
				}
				for i, step := range c.Steps {
					compareWithTables(t, cni, &c, i, &step, addresses)
				}
			})
		}
	}
}

func compareWithTables(t *testing.T, cni isolation.CNI, c *netpol.Case, number int, step *netpol.Step, addresses map[string][]netip.Addr) {
	t.Helper()
	policies, err := step.NetworkPolicies(addresses)
	if err != nil {
		t.Fatal(err)
	}
	pods, namespaces := c.Objects(step, addresses)
	cluster := proofOf(t, &packets.Cluster{Pods: pods, Namespaces: namespaces, NetworkPolicies: policies}, cni)
	for _, table := range step.Tables {
		for i := range cluster.Pods {
			for j := range cluster.Pods {
				from, to := &cluster.Pods[i], &cluster.Pods[j]
				if i == j {
					continue // upstream ignores it, too
				}
				want := table.Connected(c.Pods[i], c.Pods[j])
				got, why := cluster.Reachable(isolation.Endpoint{Pod: from}, isolation.Endpoint{Pod: to}, table.Port, string(table.Protocol))
				if got != want {
					t.Errorf("step %d: %s reaches %s on %s %d: got %t (%s), want %t", number+1, c.Pods[i], c.Pods[j], table.Protocol, table.Port, got, why, want)
				}
			}
		}
	}
}

// proofOf is the cluster as a proof sees it.
func proofOf(t *testing.T, c *packets.Cluster, cni isolation.CNI) *isolation.Cluster {
	t.Helper()
	seen := &isolation.Cluster{CNI: cni}
	for _, namespace := range c.Namespaces {
		seen.Namespaces = append(seen.Namespaces, isolation.Namespace{Name: namespace.Name, Labels: namespace.Labels})
	}
	for i := range c.Pods {
		seen.Pods = append(seen.Pods, proofPod(&c.Pods[i]))
	}
	for i := range c.NetworkPolicies {
		seen.Policies = append(seen.Policies, manifest(t, &c.NetworkPolicies[i]))
	}
	for i := range c.ClusterPolicies {
		seen.Policies = append(seen.Policies, manifest(t, &c.ClusterPolicies[i]))
	}
	for i := range c.CalicoPolicies {
		seen.Policies = append(seen.Policies, manifest(t, c.CalicoPolicies[i].Manifest()))
	}
	for i := range c.CalicoTiers {
		seen.Policies = append(seen.Policies, manifest(t, c.CalicoTiers[i].Manifest()))
	}
	return seen
}

func proofPod(pod *corev1.Pod) isolation.Pod {
	seen := isolation.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID), Labels: pod.Labels, IPs: packets.Addresses(pod)}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			seen.Ports = append(seen.Ports, isolation.Port{Name: port.Name, Port: port.ContainerPort, Protocol: string(port.Protocol)})
		}
	}
	return seen
}

func manifest(t *testing.T, object any) isolation.Object {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
