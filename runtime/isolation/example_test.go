package isolation_test

import (
	"encoding/json"
	"fmt"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
)

// What will a quarantine come to? A policy that lets every pod of the namespace ask for names is in its way, unless the provider has a tier of
// denies that stands before it.
func Example() {
	allowDNS := json.RawMessage(`{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "shop", "name": "allow-dns"},
		"spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{
			"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
			"ports": [{"port": 53, "protocol": "UDP"}]}]}}`)
	web := isolation.Pod{Namespace: "shop", Name: "web-1", Labels: map[string]string{"app": "web"}}
	cluster := &isolation.Cluster{CNI: isolation.Calico, Policies: []isolation.Object{allowDNS}, Pods: []isolation.Pod{web}}

	for _, tier := range []isolation.API{"", isolation.GlobalNetworkPolicy} {
		after, pod := isolation.Simulate(cluster, web, isolation.Measures{Quarantine: "q-1", Detach: true, DenyTier: tier})
		report, err := isolation.Evaluate(after, pod)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(report.Verdict, report.Connections)
		for _, flow := range report.Residual {
			fmt.Println(" ", flow.Direction, "to", flow.Peer, "on", flow.Ports, "by", flow.Policy)
		}
	}
	// Output:
	// Residual MayPersist
	//   egress to all pods in namespace kube-system (none today) on UDP 53 by NetworkPolicy shop/allow-dns
	// Isolated MayPersist
}

func ExampleCluster_Reachable() {
	quarantined := isolation.Pod{Namespace: "shop", Name: "web-1", Labels: map[string]string{"runtime.portcullis.dev/quarantine": "q-1"}}
	other := isolation.Pod{Namespace: "shop", Name: "web-2"}
	cluster := &isolation.Cluster{CNI: isolation.Antrea, Policies: []isolation.Object{isolation.NetworkPolicy("q-1", "shop")}}

	fmt.Println(cluster.Reachable(isolation.Endpoint{Pod: &other}, isolation.Endpoint{Pod: &quarantined}, 8080, "TCP"))
	fmt.Println(cluster.Reachable(isolation.Endpoint{Pod: &other}, isolation.Endpoint{Pod: &other}, 8080, "TCP"))
	// Output:
	// false ingress denied by NetworkPolicy shop/portcullis-q-q-1
	// true a pod always reaches itself
}
