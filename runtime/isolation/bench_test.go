package isolation

import (
	"fmt"
	"net/netip"
	"testing"
)

// large is a cluster with 1,000 policies, 5,000 pods and 100 namespaces; fifty of the policies are about the subject.
func large(b *testing.B) (*Cluster, Pod) {
	c := &Cluster{CNI: Calico}
	for n := range 100 {
		namespace := fmt.Sprint("ns-", n)
		c.Namespaces = append(c.Namespaces, Namespace{Name: namespace, Labels: map[string]string{"team": fmt.Sprint(n % 7)}})
		for p := range 50 {
			c.Pods = append(c.Pods, Pod{Namespace: namespace, Name: fmt.Sprint("pod-", p), Labels: map[string]string{"app": fmt.Sprint(p % 10)}, IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(n), 0, byte(p)})}})
		}
		for p := range 10 {
			c.Policies = append(c.Policies, objects(b, fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: %s, name: allow-%d}, spec: {podSelector: {}, policyTypes: [Ingress, Egress],
  ingress: [{from: [{namespaceSelector: {matchLabels: {team: "%d"}}, podSelector: {matchLabels: {app: "%d"}}}], ports: [{port: %d}]}], egress: [{to: [{ipBlock: {cidr: 192.0.%d.0/24}}]}]}}`, namespace, p, p%7, p, 8000+p, p))...)
		}
	}
	return c, c.Pods[0]
}

func BenchmarkEvaluate(b *testing.B) {
	c, subject := large(b)
	for _, test := range []struct {
		name     string
		measures Measures
		want     Verdict
	}{
		{"residual", Measures{Quarantine: "q"}, Residual},
		{"isolated", Measures{Quarantine: "q", Detach: true, DenyTier: GlobalNetworkPolicy}, Isolated},
	} {
		after, pod := Simulate(c, subject, test.measures)
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				report, err := Evaluate(after, pod)
				if err != nil || report.Verdict != test.want {
					b.Fatalf("got %s, %v, want %s", report.Verdict, err, test.want)
				}
			}
		})
	}
}

// All policies of the cluster are in the subject's own namespace, and about it: the worst case.
func BenchmarkEvaluateCrowdedNamespace(b *testing.B) {
	c := &Cluster{CNI: Calico, Namespaces: []Namespace{{Name: "shop"}}}
	subject := Pod{Namespace: "shop", Name: "web"}
	for p := range 1000 {
		c.Policies = append(c.Policies, objects(b, np(fmt.Sprint("p", p), fmt.Sprintf(`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: a%d}}}, {ipBlock: {cidr: 10.%d.%d.0/24}}], ports: [{port: %d}]}]}`, p, p/250, p%250, 1000+p)))...)
	}
	for p := range 5000 {
		c.Pods = append(c.Pods, Pod{Namespace: "shop", Name: fmt.Sprint("pod-", p), Labels: map[string]string{"app": fmt.Sprint("a", p)}})
	}
	b.ReportAllocs()
	for b.Loop() {
		report, err := Evaluate(c, subject)
		if err != nil || len(report.Residual) < 1000 {
			b.Fatalf("got %d flows, %v, want one for each policy, and egress", len(report.Residual), err)
		}
	}
}

func BenchmarkReachable(b *testing.B) {
	c, subject := large(b)
	b.ReportAllocs()
	for b.Loop() {
		if possible, why := c.Reachable(Endpoint{Pod: &c.Pods[7]}, Endpoint{Pod: &subject}, 80, "TCP"); possible {
			b.Fatal(why)
		}
	}
}
