package netpol

import corev1 "k8s.io/api/core/v1"

const (
	tcp  = corev1.ProtocolTCP
	udp  = corev1.ProtocolUDP
	sctp = corev1.ProtocolSCTP
)

// The groups of upstream.
const (
	suiteTCP  = "Netpol NetworkPolicy between server and client"
	suiteUDP  = "Netpol [LinuxOnly] NetworkPolicy between server and client using UDP"
	suiteSCTP = "Netpol [Feature:SCTPConnectivity] [LinuxOnly] NetworkPolicy between server and client using SCTP"
)

func connect(from, to string) Rule    { return Rule{from, to, true} }
func disconnect(from, to string) Rule { return Rule{from, to, false} }

func on(protocol corev1.Protocol, port int32, rules ...Rule) Table {
	return Table{Protocol: protocol, Port: port, Rules: rules}
}

// tables is a step for one set of policies.
func tables(policies []string, tables ...Table) Step { return Step{Policies: policies, Tables: tables} }

func serving(protocol corev1.Protocol, ports ...int32) func(name string, pods []string, steps ...Step) Case {
	suite := map[corev1.Protocol]string{tcp: suiteTCP, udp: suiteUDP, sctp: suiteSCTP}[protocol]
	return func(name string, pods []string, steps ...Step) Case {
		return Case{Suite: suite, Name: name, Pods: pods, Protocols: []corev1.Protocol{protocol}, Ports: ports, Steps: steps}
	}
}

// Cases are the tests of upstream.
func Cases() []Case {
	tcp80, tcp81, tcp80and81 := serving(tcp, 80), serving(tcp, 81), serving(tcp, 80, 81)
	udp80, udp81 := serving(udp, 80), serving(udp, 81)
	sctp80, sctp81 := serving(sctp, 80), serving(sctp, 81)

	cases := []Case{
		tcp80("should support a 'default-deny-ingress' policy", []string{"x/a", "x/b", "y/a", "y/b"},
			tables([]string{`{metadata: {name: deny-ingress, namespace: x}, spec: {podSelector: {}, policyTypes: [Ingress]}}`},
				on(tcp, 80, disconnect("*", "x/*")))),

		tcp80("should support a 'default-deny-all' policy", []string{"x/a", "x/b", "y/a"},
			tables([]string{`{metadata: {name: deny-all, namespace: x}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}`},
				on(tcp, 80, disconnect("*", "x/*"), disconnect("x/*", "*")))),

		tcp80("should enforce policy to allow traffic from pods within server namespace based on PodSelector", []string{"x/a", "x/b", "x/c", "y/a"},
			tables([]string{`{metadata: {name: x-a-allows-x-b, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}]}}`},
				on(tcp, 80, disconnect("*", "x/a"), connect("x/b", "x/a")))),

		tcp80("should enforce policy to allow ingress traffic for a target", []string{"x/a", "x/b", "y/a"},
			tables([]string{
				`{metadata: {name: deny-all, namespace: x}, spec: {podSelector: {}, policyTypes: [Ingress]}}`,
				`{metadata: {name: allow-all-to-a, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
					ingress: [{from: [{podSelector: {}, namespaceSelector: {}}]}]}}`},
				on(tcp, 80, connect("*", "x/a"), disconnect("*", "x/b")))),

		tcp80("should enforce policy to allow ingress traffic from pods in all namespaces", []string{"x/a", "x/b", "y/a", "z/a"},
			tables([]string{`{metadata: {name: allow-from-another-ns, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{from: [{namespaceSelector: {}}]}]}}`},
				on(tcp, 80))),

		tcp80("should enforce policy to allow traffic only from a different namespace, based on NamespaceSelector", []string{"x/a", "x/b", "y/a", "z/a"},
			tables([]string{`{metadata: {name: allow-client-a-via-ns-selector, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "y"}}}]}]}}`},
				on(tcp, 80, disconnect("x/*", "x/a"), disconnect("z/*", "x/a")))),

		tcp80("should enforce policy based on PodSelector with MatchExpressions", []string{"x/a", "x/b", "y/a"},
			tables([]string{`{metadata: {name: x-a-allows-x-b, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{from: [{podSelector: {matchExpressions: [{key: pod, operator: In, values: [b]}]}}]}]}}`},
				on(tcp, 80, disconnect("*", "x/a"), connect("x/b", "x/a")))),

		tcp80("should enforce policy based on NamespaceSelector with MatchExpressions", []string{"x/a", "x/b", "y/a", "z/a"},
			tables([]string{`{metadata: {name: allow-ns-y-match-selector, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: ["y"]}]}}]}]}}`},
				on(tcp, 80, disconnect("x/*", "x/a"), disconnect("z/*", "x/a")))),

		tcp80("should enforce policy based on PodSelector or NamespaceSelector", []string{"x/a", "x/b", "x/c", "y/a"},
			tables([]string{`{metadata: {name: allow-ns-y-match-selector, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [x]}]}}, {podSelector: {matchLabels: {pod: b}}}]}]}}`},
				on(tcp, 80, disconnect("x/a", "x/a"), disconnect("x/c", "x/a")))),

		tcp80("should enforce policy based on PodSelector and NamespaceSelector", []string{"x/a", "x/b", "y/a", "y/b", "z/b"},
			tables([]string{`{metadata: {name: allow-ns-y-podselector-and-nsselector, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [x]}]}, podSelector: {matchLabels: {pod: b}}}]}]}}`},
				on(tcp, 80, disconnect("*", "x/a"), connect("y/b", "x/a"), connect("z/b", "x/a")))),

		tcp80("should enforce policy based on Multiple PodSelectors and NamespaceSelectors", []string{"x/a", "x/b", "y/a", "y/b", "y/c"},
			tables([]string{`{metadata: {name: allow-ns-y-z-pod-b-c, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [x]}]},
					podSelector: {matchExpressions: [{key: pod, operator: In, values: [b, c]}]}}]}]}}`},
				on(tcp, 80, disconnect("x/*", "x/a"), disconnect("y/a", "x/a")))),

		tcp80("should enforce policy based on any PodSelectors", []string{"x/a", "x/b", "x/c"},
			tables([]string{`{metadata: {name: allow-ns-x-pod-b-c, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}, {podSelector: {matchLabels: {pod: c}}}]}]}}`},
				on(tcp, 80, disconnect("*", "x/a"), connect("x/b", "x/a"), connect("x/c", "x/a")))),

		tcp80("should enforce policy to allow traffic only from a pod in a different namespace based on PodSelector and NamespaceSelector", []string{"x/a", "x/b", "y/a", "y/b", "z/a"},
			tables([]string{fromYA}, on(tcp, 80, disconnect("*", "x/a"), connect("y/a", "x/a")))),

		tcp81("should enforce policy based on Ports", []string{"x/a", "x/b", "y/a", "y/b", "z/a"},
			tables([]string{fromYOn("allow-client-a-via-ns-selector", "81", "TCP")},
				on(tcp, 81, disconnect("x/*", "x/a"), connect("y/*", "x/a"), disconnect("z/*", "x/a")))),

		tcp80and81("should enforce multiple, stacked policies with overlapping podSelectors", []string{"x/a", "x/b", "y/a", "y/b", "z/a"},
			tables([]string{fromYOn("allow-client-a-via-ns-selector", "81", "TCP")},
				on(tcp, 81, disconnect("x/*", "x/a"), connect("y/*", "x/a"), disconnect("z/*", "x/a")),
				on(tcp, 80, disconnect("*", "x/a"))),
			tables([]string{fromYOn("allow-client-a-via-ns-selector", "81", "TCP"), fromYOn("allow-client-a-via-ns-selector-80", "80", "TCP")},
				on(tcp, 80, disconnect("x/*", "x/a"), connect("y/*", "x/a"), disconnect("z/*", "x/a")))),

		tcp80and81("should support allow-all policy", []string{"x/a", "x/b", "y/a"},
			tables([]string{`{metadata: {name: allow-all, namespace: x}, spec: {podSelector: {matchLabels: {}}, policyTypes: [Ingress], ingress: [{}]}}`},
				on(tcp, 80), on(tcp, 81))),

		tcp80and81("should allow ingress access on one named port", []string{"x/a", "x/b", "y/a"},
			tables([]string{`{metadata: {name: allow-all, namespace: x}, spec: {podSelector: {matchLabels: {}}, policyTypes: [Ingress], ingress: [{ports: [{port: serve-81-tcp}]}]}}`},
				on(tcp, 81), on(tcp, 80, disconnect("*", "x/*")))),

		tcp80and81("should allow ingress access from namespace on one named port", []string{"x/a", "x/b", "y/a", "z/a"},
			tables([]string{fromYOn("allow-client-a-via-ns-selector-80", "serve-80-tcp", "TCP")},
				on(tcp, 80, disconnect("x/*", "x/a"), disconnect("z/*", "x/a")),
				on(tcp, 81, disconnect("*", "x/a")))),

		tcp80and81("should allow egress access on one named port", []string{"x/a", "y/a"},
			tables([]string{`{metadata: {name: allow-egress, namespace: x}, spec: {podSelector: {matchLabels: {}}, policyTypes: [Egress], egress: [{ports: [{port: serve-80-tcp}]}]}}`},
				on(tcp, 80), on(tcp, 81, disconnect("x/*", "*")))),

		tcp80("should not allow all ports if it cannot limit to the requested port", []string{"x/a", "y/a"},
			tables([]string{`{metadata: {name: allow-ingress-on-nonexistent-port, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{ports: [{port: no-such-port, protocol: TCP}]}]}}`},
				on(tcp, 80, disconnect("*", "x/a")))),

		tcp81("should enforce updated policy", []string{"x/a", "y/a"},
			tables([]string{`{metadata: {name: allow-all-mutate-to-deny-all, namespace: x}, spec: {podSelector: {matchLabels: {}}, policyTypes: [Ingress], ingress: [{}]}}`}, on(tcp, 81)),
			tables([]string{`{metadata: {name: allow-all-mutate-to-deny-all, namespace: x}, spec: {podSelector: {matchLabels: {}}, policyTypes: [Ingress], ingress: []}}`},
				on(tcp, 81, disconnect("*", "x/*")))),

		tcp80("should allow ingress access from updated namespace", []string{"x/a", "y/a"},
			tables([]string{fromUpdatedNamespace}, on(tcp, 80, disconnect("*", "x/a"))),
			Step{Policies: []string{fromUpdatedNamespace}, NamespaceLabels: map[string]map[string]string{"y": {"ns2": "updated"}},
				Tables: []Table{on(tcp, 80, disconnect("*", "x/a"), connect("y/*", "*"))}}),

		tcp80("should allow ingress access from updated pod", []string{"x/a", "x/b"},
			tables([]string{fromUpdatedPod}, on(tcp, 80, disconnect("*", "x/a"))),
			Step{Policies: []string{fromUpdatedPod}, PodLabels: map[string]map[string]string{"x/b": {"pod2": "updated"}},
				Tables: []Table{on(tcp, 80, disconnect("*", "x/a"), connect("x/b", "x/a"))}}),

		tcp80("should deny ingress from pods on other namespaces", []string{"x/a", "x/b", "y/a", "z/a"},
			tables([]string{`{metadata: {name: deny-empty-policy, namespace: x}, spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {}}}]}]}}`},
				on(tcp, 80, disconnect("y/*", "x/*"), disconnect("z/*", "x/*")))),

		tcp80("should deny ingress access to updated pod", []string{"x/a", "y/a"},
			tables([]string{toIsolatedTarget}, on(tcp, 80)),
			Step{Policies: []string{toIsolatedTarget}, PodLabels: map[string]map[string]string{"x/a": {"target": "isolated"}},
				Tables: []Table{on(tcp, 80, disconnect("*", "x/a"))}}),

		tcp80("should deny egress from pods based on PodSelector", []string{"x/a", "x/b", "y/a"},
			tables([]string{`{metadata: {name: deny-egress-pod-a, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress]}}`},
				on(tcp, 80, disconnect("x/a", "*")))),

		tcp80("should deny egress from all pods in a namespace", []string{"x/a", "x/b", "y/a"},
			tables([]string{`{metadata: {name: deny-egress-ns-x, namespace: x}, spec: {podSelector: {}, policyTypes: [Egress]}}`},
				on(tcp, 80, disconnect("x/*", "*")))),

		tcp80and81("should work with Ingress, Egress specified together", []string{"x/a", "x/b", "x/c", "y/a"},
			tables([]string{`{metadata: {name: allow-client-a-via-pod-selector, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress, Ingress],
				ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}], egress: [{ports: [{port: 80}]}]}}`},
				on(tcp, 80, disconnect("*", "x/a"), connect("x/b", "x/a")),
				on(tcp, 81, disconnect("*", "x/a"), disconnect("x/a", "*"), connect("x/b", "x/a")))),

		tcp80("should support denying of egress traffic on the client side (even if the server explicitly allows this traffic)", []string{"x/a", "y/a", "y/b"},
			tables([]string{
				toYA("allow-to-ns-y-pod-a"),
				`{metadata: {name: allow-from-xa-on-ya-match-selector, namespace: "y"}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
					ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: x}}, podSelector: {matchLabels: {pod: a}}}]}]}}`,
				`{metadata: {name: allow-from-xa-on-yb-match-selector, namespace: "y"}, spec: {podSelector: {matchLabels: {pod: b}}, policyTypes: [Ingress],
					ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: x}}, podSelector: {matchLabels: {pod: a}}}]}]}}`},
				on(tcp, 80, disconnect("x/a", "*"), disconnect("*", "y/a"), connect("x/a", "y/a"), disconnect("*", "y/b")))),

		tcp80("should enforce egress policy allowing traffic to a server in a different namespace based on PodSelector and NamespaceSelector", []string{"x/a", "y/a", "y/b"},
			tables([]string{toYA("allow-to-ns-y-pod-a")}, on(tcp, 80, disconnect("x/a", "*"), connect("x/a", "y/a")))),

		{Suite: suiteTCP, Name: "should enforce ingress policy allowing any port traffic to a server on a specific protocol",
			Pods: []string{"x/a", "y/a"}, Protocols: []corev1.Protocol{tcp, udp}, Ports: []int32{80},
			Steps: []Step{tables([]string{`{metadata: {name: allow-ingress-by-proto, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{ports: [{protocol: TCP}]}]}}`},
				on(tcp, 80), on(udp, 80, disconnect("*", "x/a")))}},

		tcp81("should enforce multiple ingress policies with ingress allow-all policy taking precedence", []string{"x/a", "y/a"},
			tables([]string{ingress80}, on(tcp, 81, disconnect("*", "x/*"))),
			tables([]string{ingress80, `{metadata: {name: allow-ingress, namespace: x}, spec: {podSelector: {matchLabels: {}}, policyTypes: [Ingress], ingress: [{}]}}`}, on(tcp, 81))),

		tcp81("should enforce multiple egress policies with egress allow-all policy taking precedence", []string{"x/a", "y/a"},
			tables([]string{egress80}, on(tcp, 81, disconnect("x/*", "*"))),
			tables([]string{egress80, `{metadata: {name: allow-egress, namespace: x}, spec: {podSelector: {matchLabels: {}}, policyTypes: [Egress], egress: [{}]}}`}, on(tcp, 81))),

		tcp80("should stop enforcing policies after they are deleted", []string{"x/a", "y/a"},
			tables([]string{`{metadata: {name: deny-all, namespace: x}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}`},
				on(tcp, 80, disconnect("x/*", "*"), disconnect("*", "x/*"))),
			tables(nil, on(tcp, 80))),

		tcp80("should allow egress access to server in CIDR block", []string{"x/a", "y/a", "y/b"},
			tables([]string{toCIDR(`{cidr: "IP(y/b)"}`)}, on(tcp, 80, disconnect("x/a", "*"), connect("x/a", "y/b")))),

		tcp80("should enforce except clause while egress access to server in CIDR block", []string{"x/a", "x/b", "x/c"},
			tables([]string{toCIDR(`{cidr: "WIDE(x/b)", except: ["IP(x/b)"]}`)}, on(tcp, 80, disconnect("x/a", "x/b")))),

		tcp80("should ensure an IP overlapping both IPBlock.CIDR and IPBlock.Except is allowed", []string{"x/a", "x/b", "x/c"},
			tables([]string{toCIDR(`{cidr: "WIDE(x/b)", except: ["IP(x/b)"]}`)}, on(tcp, 80, disconnect("x/a", "x/b"))),
			tables([]string{toCIDR(`{cidr: "IP(x/b)"}`)}, on(tcp, 80, disconnect("x/a", "*"), connect("x/a", "x/b")))),

		tcp80("should enforce policies to check ingress and egress policies can be controlled independently based on PodSelector", []string{"x/a", "x/b", "y/a"},
			tables([]string{egressOfA}, on(tcp, 80)),
			tables([]string{egressOfA, `{metadata: {name: deny-ingress-via-label-selector, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress]}}`},
				on(tcp, 80, disconnect("*", "x/a")))),

		tcp81("should not mistakenly treat 'protocol: SCTP' as 'protocol: TCP', even if the plugin doesn't support SCTP", []string{"x/a", "y/a"},
			tables([]string{
				`{metadata: {name: deny-ingress, namespace: x}, spec: {podSelector: {}, policyTypes: [Ingress]}}`,
				ingressOnly("allow-only-sctp-ingress-on-port-81", "81", "SCTP")},
				on(tcp, 81, disconnect("*", "x/*")))),

		tcp81("should properly isolate pods that are selected by a policy allowing SCTP, even if the plugin doesn't support SCTP", []string{"x/a", "y/a"},
			tables([]string{ingressOnly("allow-only-sctp-ingress-on-port-80", "80", "SCTP")}, on(tcp, 81, disconnect("*", "x/a")))),

		tcp81("should not allow access by TCP when a policy specifies only UDP", []string{"x/a", "y/a"},
			tables([]string{ingressOnly("allow-only-udp-ingress-on-port-81", "81", "UDP")}, on(tcp, 81, disconnect("*", "x/a")))),

		tcp80("should enforce policy to allow traffic based on NamespaceSelector with MatchLabels using default ns label", []string{"x/a", "x/b", "y/a", "z/a"},
			tables([]string{`{metadata: {name: allow-client-a-via-ns-selector-for-immutable-ns-label, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
				ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "y"}}}]}]}}`},
				on(tcp, 80, disconnect("x/*", "x/a"), disconnect("z/*", "x/a")))),

		tcp80("should enforce policy based on NamespaceSelector with MatchExpressions using default ns label", []string{"x/a", "x/b", "y/a", "z/a"},
			tables([]string{`{metadata: {name: allow-ns-y-match-selector-for-immutable-ns-label, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
				egress: [{to: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: ["y"]}]}}]}]}}`},
				on(tcp, 80, disconnect("x/a", "y/*")))),

		udp80("should support a 'default-deny-ingress' policy", []string{"x/a", "x/b", "y/a", "y/b"},
			tables([]string{`{metadata: {name: deny-all, namespace: x}, spec: {podSelector: {}, policyTypes: [Ingress]}}`}, on(udp, 80, disconnect("*", "x/*")))),
		udp81("should enforce policy based on Ports", []string{"x/a", "x/b", "y/a", "z/a"},
			tables([]string{fromYOn("allow-ingress-on-port-81-ns-x", "81", "UDP")}, on(udp, 81, disconnect("x/*", "x/a"), disconnect("z/*", "x/a")))),
		udp80("should enforce policy to allow traffic only from a pod in a different namespace based on PodSelector and NamespaceSelector", []string{"x/a", "x/b", "y/a"},
			tables([]string{fromYA}, on(udp, 80, disconnect("*", "x/a"), connect("y/a", "x/a")))),

		sctp80("should support a 'default-deny-ingress' policy", []string{"x/a", "x/b", "y/a", "y/b"},
			tables([]string{`{metadata: {name: deny-all, namespace: x}, spec: {podSelector: {}, policyTypes: [Ingress]}}`}, on(sctp, 80, disconnect("*", "x/*")))),
		sctp81("should enforce policy based on Ports", []string{"x/a", "x/b", "y/a", "z/a"},
			tables([]string{fromYOn("allow-ingress-on-port-81-ns-x", "81", "SCTP")}, on(sctp, 81, disconnect("x/*", "x/a"), disconnect("z/*", "x/a")))),
		sctp80("should enforce policy to allow traffic only from a pod in a different namespace based on PodSelector and NamespaceSelector", []string{"x/a", "x/b", "y/a"},
			tables([]string{fromYA}, on(sctp, 80, disconnect("*", "x/a"), connect("y/a", "x/a")))),
	}
	return cases
}

// Policies that several tests have.
const (
	fromYA = `{metadata: {name: allow-ns-y-pod-a-via-namespace-pod-selector, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
		ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "y"}}, podSelector: {matchLabels: {pod: a}}}]}]}}`
	fromUpdatedNamespace = `{metadata: {name: allow-client-a-via-ns-selector, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
		ingress: [{from: [{namespaceSelector: {matchLabels: {ns2: updated}}}]}]}}`
	fromUpdatedPod = `{metadata: {name: allow-client-a-via-pod-selector, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
		ingress: [{from: [{podSelector: {matchLabels: {pod: b, pod2: updated}}}]}]}}`
	toIsolatedTarget = `{metadata: {name: deny-ingress-via-label-selector, namespace: x}, spec: {podSelector: {matchLabels: {target: isolated}}, policyTypes: [Ingress]}}`
	ingress80        = `{metadata: {name: allow-ingress-port-80, namespace: x}, spec: {podSelector: {matchLabels: {}}, policyTypes: [Ingress], ingress: [{ports: [{port: 80}]}]}}`
	egress80         = `{metadata: {name: allow-egress-port-80, namespace: x}, spec: {podSelector: {matchLabels: {}}, policyTypes: [Egress], egress: [{ports: [{port: 80}]}]}}`
	egressOfA        = `{metadata: {name: allow-egress-for-target, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], egress: [{}]}}`
)

// fromYOn lets namespace y reach x/a on a port, which is a number or a name.
func fromYOn(name, port, protocol string) string {
	return `{metadata: {name: ` + name + `, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
		ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "y"}}}], ports: [{port: ` + port + `, protocol: ` + protocol + `}]}]}}`
}

// ingressOnly lets everybody reach x/a on a port.
func ingressOnly(name, port, protocol string) string {
	return `{metadata: {name: ` + name + `, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress],
		ingress: [{ports: [{port: ` + port + `, protocol: ` + protocol + `}]}]}}`
}

// toYA lets x/a reach y/a only.
func toYA(name string) string {
	return `{metadata: {name: ` + name + `, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
		egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "y"}}, podSelector: {matchLabels: {pod: a}}}]}]}}`
}

// toCIDR lets x/a reach a block of addresses only.
func toCIDR(block string) string {
	return `{metadata: {name: allow-client-a-via-cidr-egress-rule, namespace: x}, spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
		egress: [{to: [{ipBlock: ` + block + `}]}]}}`
}
