package isolation

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// objects reads manifests, separated as in a file.
func objects(t testing.TB, text string) []Object {
	t.Helper()
	var all []Object
	for _, part := range strings.Split(text, "\n---\n") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		raw, err := yaml.YAMLToJSON([]byte(part))
		if err != nil {
			t.Fatalf("%v\n%s", err, part)
		}
		all = append(all, raw)
	}
	return all
}

// shop is a namespace with a pod that is quarantined as q-1, without other labels.
func shop(t testing.TB, cni CNI, policies string) (*Cluster, Pod) {
	t.Helper()
	subject := Pod{
		Namespace: "shop", Name: "web-1", Labels: map[string]string{quarantineLabel: "q-1"}, IPs: []netip.Addr{netip.MustParseAddr("10.1.0.5")},
		Ports: []Port{{Name: "http", Port: 8080, Protocol: "TCP"}},
	}
	return &Cluster{
		CNI:      cni,
		Policies: append(objects(t, policies), NetworkPolicy("q-1", "shop")),
		Namespaces: []Namespace{
			{Name: "shop", Labels: map[string]string{"team": "red"}}, {Name: "kube-system"}, {Name: "bank", Labels: map[string]string{"team": "blue"}},
		},
		Pods: []Pod{
			subject,
			{Namespace: "shop", Name: "web-2", Labels: map[string]string{"app": "web"}, IPs: []netip.Addr{netip.MustParseAddr("10.1.0.6")}},
			{Namespace: "kube-system", Name: "dns-1", Labels: map[string]string{"app": "dns"}, IPs: []netip.Addr{netip.MustParseAddr("10.1.0.7")}, Ports: []Port{{Name: "dns", Port: 53, Protocol: "UDP"}}},
			{Namespace: "bank", Name: "db-1", Labels: map[string]string{"app": "db"}},
		},
	}, subject
}

func np(name, spec string) string {
	return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {namespace: shop, name: " + name + "}\nspec: " + spec + "\n---\n"
}

func cluster(name, spec string) string {
	return "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: " + name + "}\nspec: " + spec + "\n---\n"
}

func admin(name, spec string) string {
	return "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: " + name + "}\nspec: " + spec + "\n---\n"
}

func cilium(name, spec string) string {
	return "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {namespace: shop, name: " + name + "}\nspec: " + spec + "\n---\n"
}

func ciliumWide(name, spec string) string {
	return "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: " + name + "}\nspec: " + spec + "\n---\n"
}

func calico(name, spec string) string {
	return "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {namespace: shop, name: " + name + "}\nspec: " + spec + "\n---\n"
}

func calicoGlobal(name, spec string) string {
	return "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: " + name + "}\nspec: " + spec + "\n---\n"
}

func tier(name, spec string) string {
	return "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: " + name + "}\nspec: " + spec + "\n---\n"
}

// standing is the deny of an API as it would be written.
func standing(t testing.TB, api API) string {
	t.Helper()
	object, _ := DenyTier(api)
	text, err := yaml.JSONToYAML(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n---\n"
}

const allowDNS = "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {app: dns}}}], ports: [{port: 53, protocol: UDP}]}]}"

func TestWhatRemainsIsNamed(t *testing.T) {
	const everySubject = "subject: {namespaces: {}}"
	cnp, anp, ccnp, gnp := standing(t, ClusterNetworkPolicy), standing(t, AdminNetworkPolicy), standing(t, CiliumClusterwideNetworkPolicy), standing(t, GlobalNetworkPolicy)
	for name, test := range map[string]struct {
		cni      CNI
		policies string
		want     Verdict
		flows    []string // parts of the lines, in order
	}{
		"a policy without rules isolates":        {Calico, "", Isolated, nil},
		"a policy of other pods does not matter": {Calico, np("web", "{podSelector: {matchLabels: {app: web}}, ingress: [{}]}"), Isolated, nil},
		"policies add up, so that a deny takes nothing from an allow for all pods (k8s documentation, \"additive\")": {
			Calico, np("allow-dns", allowDNS), Residual,
			[]string{"egress to pods with app=dns in namespace kube-system (today kube-system/dns-1), UDP 53: NetworkPolicy shop/allow-dns (policies add up: NetworkPolicy shop/portcullis-q-q-1, which allows nothing, takes nothing away)"},
		},
		"a policy that lists no types is about ingress": {
			Calico, np("open", "{podSelector: {}, ingress: [{}]}"), Residual, []string{"ingress from anything, any port: NetworkPolicy shop/open"},
		},
		"a policy that lists no types and has rules for egress is about both": {
			Calico, np("open", "{podSelector: {}, egress: [{ports: [{port: 443}]}]}"), Residual, []string{"egress to anything, TCP 443: NetworkPolicy shop/open"},
		},
		"rules of a type that is not listed do not count": {Calico, np("half", "{podSelector: {}, policyTypes: [Ingress], egress: [{}]}"), Isolated, nil},
		"peers that do not exist today may exist tomorrow": {
			Calico, np("future", "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: ghost}}}]}]}"), Residual,
			[]string{"ingress from pods with app=ghost in namespace shop (none today), any port"},
		},
		"peers whose selector contradicts itself cannot exist": {
			Calico, np("never", "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: a}, matchExpressions: [{key: app, operator: NotIn, values: [a]}]}}]}]}"), Isolated, nil,
		},
		"a namespace that is known by name has the labels that it has": {
			Calico, np("never", "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bank, team: red}}}]}]}"), Isolated, nil,
		},
		"blocks of addresses have exceptions": {
			Calico, np("net", "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]}], policyTypes: [Egress]}"), Residual,
			[]string{"egress to 192.0.2.0/25, any port"},
		},
		"a name of a port of the pod is its number, and one that it does not have is none": {
			Calico, np("named", "{podSelector: {}, ingress: [{ports: [{port: http}, {port: metrics}]}]}"), Residual, []string{"ingress from anything, TCP 8080: "},
		},
		"a name of a port of a peer stays a name": {
			Calico, np("named", "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: dns, protocol: UDP}]}]}"), Residual,
			[]string{"egress to all pods in namespace shop (today shop/web-2), UDP the port named dns"},
		},
		"a range of ports is told": {
			Calico, np("range", "{podSelector: {}, ingress: [{ports: [{port: 8000, endPort: 9000}, {protocol: SCTP}]}]}"), Residual, []string{"TCP 8000-9000, any SCTP port"},
		},
		"a field that is not known may allow": {
			Calico, np("new", "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}, weather: sunny}]}]}"), Residual,
			[]string{
				"ingress from all pods in namespace shop", "ingress from anything, any port: NetworkPolicy shop/new (assumed: it is not understood: unknown field \"ingress[0].from[0].weather\"",
				"egress to anything, any port: NetworkPolicy shop/new (assumed: it is not understood: unknown field",
			},
		},
		"a field that is not known beside the rules may make a policy one about the pod": {
			Calico, np("new", "{podSelector: {matchLabels: {app: other}}, exceptPods: {}, policyTypes: [Ingress]}"), Residual, []string{"ingress from anything, any port: NetworkPolicy shop/new (assumed", "egress to anything"},
		},
		"a selector with an operator that is not known may match": {
			Calico, np("odd", "{podSelector: {matchExpressions: [{key: a, operator: Near, values: [b]}]}, ingress: [{}]}"), Residual, []string{"ingress from anything, any port: NetworkPolicy shop/odd (assumed: whether it is about the pod"},
		},
		"a block with a selector beside it is not understood": {
			Calico, np("mixed", "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}, podSelector: {}}]}]}"), Residual, []string{"ingress from anything, any port: NetworkPolicy shop/mixed (assumed: spec.ingress[0], peer 0: it has an ipBlock and a selector"},
		},

		// ClusterNetworkPolicy.
		"a standing deny of the Admin tier beats what NetworkPolicies allow to pods": {KubeNetworkPolicies, cnp + np("allow-dns", allowDNS), Isolated, nil},
		"ingress of a ClusterNetworkPolicy knows pods only, so that an allow from addresses remains": {
			KubeNetworkPolicies, cnp + np("open", "{podSelector: {}, ingress: [{}]}"), Residual, []string{"ingress from any address; other nodes, any port: NetworkPolicy shop/open"},
		},
		"an earlier accept beats a later deny, and both are named": {
			KubeNetworkPolicies, cluster("monitoring", "{tier: Admin, priority: 10, "+everySubject+", ingress: [{action: Accept, from: [{pods: {namespaceSelector: {matchLabels: {team: blue}}, podSelector: {}}}], protocols: [{tcp: {destinationPort: {number: 9090}}}]}]}") +
				cluster("deny", "{tier: Admin, priority: 20, "+everySubject+", ingress: [{action: Deny, from: [{namespaces: {}}]}]}"), Residual,
			[]string{"ingress from all pods in namespaces with team=blue (today bank/db-1), TCP 9090: ClusterNetworkPolicy monitoring (it accepts (tier Admin, priority 10) before ClusterNetworkPolicy deny (tier Admin, priority 20) can deny)"},
		},
		"an accept after a deny of the same and more pods is nothing": {
			KubeNetworkPolicies, cluster("deny", "{tier: Admin, priority: 1, "+everySubject+", ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: blue}}}]}]}") +
				cluster("late", "{tier: Admin, priority: 2, "+everySubject+", ingress: [{action: Accept, from: [{pods: {namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: db}}}}]}]}"), Isolated, nil,
		},
		"of two policies with one priority either may come first": {
			KubeNetworkPolicies, cnp + cluster("aaa", "{tier: Admin, priority: 0, "+everySubject+", egress: [{action: Accept, to: [{networks: [192.0.2.1/32]}]}]}"), Residual,
			[]string{"egress to 192.0.2.1, any port: ClusterNetworkPolicy aaa"},
		},
		"what is passed goes to NetworkPolicies, past later denies": {
			KubeNetworkPolicies, cluster("pass", "{tier: Admin, priority: 1, "+everySubject+", egress: [{action: Pass, to: [{namespaces: {}}]}]}") +
				cluster("deny", "{tier: Admin, priority: 2, "+everySubject+", egress: [{action: Deny, to: [{networks: [0.0.0.0/0, '::/0']}]}]}") + np("allow-dns", allowDNS), Residual,
			[]string{"egress to pods with app=dns in namespace kube-system"},
		},
		"pods that are passed before a deny of all addresses have addresses, too": {
			KubeNetworkPolicies, cluster("pass", "{tier: Admin, priority: 1, "+everySubject+", egress: [{action: Pass, to: [{namespaces: {}}]}, {action: Deny, to: [{networks: [0.0.0.0/0, '::/0']}]}]}") +
				np("net", "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.1.0.0/16}}]}]}"), Residual,
			[]string{"egress to pods with addresses in 10.1.0.0/16, any port: NetworkPolicy shop/net"},
		},
		"the baseline is asked where no NetworkPolicy is about the pod, and adds nothing here": {
			KubeNetworkPolicies, cluster("base", "{tier: Baseline, priority: 1, "+everySubject+", egress: [{action: Accept, to: [{namespaces: {}}]}]}"), Isolated, nil,
		},
		"names of domains are addresses that are not known": {
			KubeNetworkPolicies, cluster("web", "{tier: Admin, priority: 1, "+everySubject+", egress: [{action: Accept, to: [{domainNames: [example.com]}]}]}"), Residual,
			[]string{"egress to anything, any port: ClusterNetworkPolicy web (assumed: spec.egress[0], peer 0: the addresses of example.com are not known"},
		},
		"a peer in a form that is not known may be anybody": {
			KubeNetworkPolicies, cluster("new", "{tier: Admin, priority: 1, "+everySubject+", egress: [{action: Accept, to: [{}]}]}"), Residual, []string{"egress to anything, any port: ClusterNetworkPolicy new (assumed"},
		},
		"a tier that is not known may come first": {
			KubeNetworkPolicies, cnp + cluster("new", "{tier: Developer, priority: 1, "+everySubject+", egress: [{action: Accept, to: [{namespaces: {}}]}]}"), Residual, []string{"ingress from anything", "egress to all pods", "egress to anything"},
		},
		"a provider that does not enforce an API is not protected by it": {
			Cilium, cnp + np("allow-dns", allowDNS), Residual, []string{"egress to pods with app=dns"},
		},
		"nor does an accept in it count": {Cilium, cluster("open", "{tier: Admin, priority: 1, "+everySubject+", egress: [{action: Accept, to: [{namespaces: {}}]}]}"), Isolated, nil},

		// AdminNetworkPolicy.
		"OVN-Kubernetes enforces AdminNetworkPolicies":      {OVNKubernetes, anp + np("allow-dns", allowDNS), Isolated, nil},
		"Antrea may not, so that a deny is not relied upon": {Antrea, anp + np("allow-dns", allowDNS), Residual, []string{"egress to pods with app=dns"}},
		"and an allow is": {
			Antrea, admin("open", "{priority: 1, "+everySubject+", egress: [{action: Allow, to: [{namespaces: {}}], ports: [{portNumber: {protocol: TCP, port: 443}}, {portRange: {protocol: UDP, start: 1, end: 9}}]}]}"), Residual,
			[]string{"egress to all pods, TCP 443, UDP 1-9: AdminNetworkPolicy open (assumed: Antrea enforces it behind a feature gate"},
		},
		"Antrea's own policies are not understood": {
			Antrea, "apiVersion: crd.antrea.io/v1beta1\nkind: ClusterNetworkPolicy\nmetadata: {name: acnp}\nspec: {priority: 1}\n", Residual, []string{"ingress from anything, any port: Antrea ClusterNetworkPolicy acnp (assumed", "egress to anything"},
		},

		// Cilium.
		"Cilium's denies beat every allow": {
			Cilium, ccnp + np("open", "{podSelector: {}, ingress: [{}], egress: [{}]}") + cilium("all", "{endpointSelector: {}, ingress: [{fromEntities: [all]}], egress: [{toEntities: [cluster, world]}]}"), Isolated, nil,
		},
		"what a deny leaves out remains, be it only an entity": {
			Cilium, ciliumWide("most", "{endpointSelector: {}, ingressDeny: [{fromEndpoints: [{}]}, {fromEntities: [world, remote-node]}]}") + cilium("all", "{endpointSelector: {}, ingress: [{fromEntities: [all]}]}"), Residual,
			[]string{"ingress from the entity health; the entity ingress; the entity init; the entity kube-apiserver; the entity unmanaged, any port: CiliumNetworkPolicy shop/all"},
		},
		"a policy of a namespace is about its endpoints": {
			Cilium, cilium("same", "{endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '80', protocol: TCP}]}]}]}"), Residual,
			[]string{"ingress from pods with app=web in namespace shop (today shop/web-2), TCP 80"},
		},
		"unless it names another namespace": {
			Cilium, cilium("dns", "{endpointSelector: {}, egress: [{toEndpoints: [{matchLabels: {'k8s:io.kubernetes.pod.namespace': kube-system, 'k8s:app': dns}}], toPorts: [{ports: [{port: '53', protocol: ANY}]}]}]}"), Residual,
			[]string{"egress to pods with app=dns in namespace kube-system (today kube-system/dns-1), TCP 53, UDP 53, SCTP 53"},
		},
		"an empty rule of Cilium matches nobody": {Cilium, cilium("none", "{endpointSelector: {}, ingress: [{}], egress: [{}]}"), Isolated, nil},
		"names of hosts are assumed to be any address, and no pod": {
			Cilium, cilium("fqdn", "{endpointSelector: {}, egress: [{toFQDNs: [{matchName: example.com}], toPorts: [{ports: [{port: '443', protocol: TCP}]}]}]}"), Residual,
			[]string{"egress to any address; other nodes, TCP 443: CiliumNetworkPolicy shop/fqdn (assumed: spec.egress[0]: the addresses of toFQDNs are not known"},
		},
		"what is allowed in part is assumed to be allowed": {
			Cilium, cilium("l7", "{endpointSelector: {}, ingress: [{fromEntities: [world], toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{method: GET}]}}]}]}"), Residual,
			[]string{"ingress from any address; other nodes, TCP 80: CiliumNetworkPolicy shop/l7 (assumed: spec.ingress[0]: it depends on what is sent"},
		},
		"Cilium's blocks of addresses are not about pods": {
			Cilium, ciliumWide("net", "{endpointSelector: {}, ingressDeny: [{fromCIDR: [0.0.0.0/0, '::/0']}]}") + np("peers", "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"), Residual,
			[]string{"ingress from all pods in namespace shop"},
		},
		"a policy of Cilium's host firewall is not about pods": {Cilium, ciliumWide("host", "{nodeSelector: {}, ingress: [{fromEntities: [all]}]}"), Isolated, nil},
		"rules of Cilium come in lists, too": {
			Cilium, "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {namespace: shop, name: list}\nspecs: [{endpointSelector: {}, ingress: [{fromEntities: [remote-node]}]}]\n", Residual, []string{"ingress from other nodes, any port: CiliumNetworkPolicy shop/list"},
		},

		// Calico.
		"a deny at the beginning of the default tier beats NetworkPolicies": {Calico, gnp + np("open", "{podSelector: {}, ingress: [{}], egress: [{}]}"), Isolated, nil},
		"an allow of an earlier tier beats it, and is named": {
			Calico, gnp + tier("security", "{order: 100}") + calicoGlobal("security.scan", "{tier: security, order: 5, selector: all(), types: [Ingress], ingress: [{action: Allow, protocol: TCP, source: {selector: app == 'db'}, destination: {ports: [22, '8000:8010']}}]}"), Residual,
			[]string{"ingress from pods with app=db (today bank/db-1), TCP 22, 8000-8010: GlobalNetworkPolicy scan (it accepts (tier security, order 5) before GlobalNetworkPolicy portcullis-quarantine (tier default, order -1e+06) can deny)"},
		},
		"an earlier tier that passes leaves it to the next": {
			Calico, gnp + tier("security", "{order: 100}") + calicoGlobal("security.pass", "{tier: security, selector: all(), types: [Ingress, Egress], ingress: [{action: Pass}], egress: [{action: Pass}]}") + np("open", "{podSelector: {}, ingress: [{}], egress: [{}]}"), Isolated, nil,
		},
		"an earlier tier whose policies match nothing denies": {
			Calico, tier("security", "{order: 100}") + calicoGlobal("security.none", "{tier: security, selector: all(), types: [Ingress, Egress]}") + np("open", "{podSelector: {}, ingress: [{}], egress: [{}]}"), Isolated, nil,
		},
		"unless the tier passes by default": {
			Calico, tier("security", "{order: 100, defaultAction: Pass}") + calicoGlobal("security.none", "{tier: security, selector: all(), types: [Ingress, Egress]}") + np("open", "{podSelector: {}, ingress: [{}]}"), Residual, []string{"ingress from anything"},
		},
		"NetworkPolicies stand at 1000 in the default tier, so that an allow before them counts": {
			Calico, calico("early", "{order: 10, selector: all(), types: [Egress], egress: [{action: Allow, destination: {nets: [192.0.2.0/24]}}]}"), Residual, []string{"egress to 192.0.2.0/24, any port: Calico NetworkPolicy shop/early"},
		},
		"a deny after them takes nothing from what they allow": {
			Calico, calicoGlobal("late", "{order: 2000, types: [Ingress, Egress], ingress: [{action: Deny}], egress: [{action: Deny}]}") + np("allow-dns", allowDNS), Residual, []string{"egress to pods with app=dns"},
		},
		"a policy of a namespace has peers of its own unless it says otherwise": {
			Calico, calico("own", "{order: 10, types: [Ingress], ingress: [{action: Allow, source: {selector: app == 'web'}}, {action: Allow, source: {namespaceSelector: team == 'blue'}}]}"), Residual,
			[]string{"ingress from all pods in namespaces with team=blue (today bank/db-1)", "ingress from pods with app=web in namespace shop (today shop/web-2)"},
		},
		"network sets are peers with addresses": {
			Calico, calicoGlobal("sets", "{order: 10, types: [Egress], egress: [{action: Allow, destination: {selector: role == 'update'}}]}") + "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: u, labels: {role: update}}\nspec: {nets: [198.51.100.0/24]}\n", Residual,
			[]string{"egress to pods with role=update; network sets with such labels"},
		},
		"policies as Calico stores them are the same": {
			Calico, "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkPolicy\nmetadata: {name: default.early}\nspec: {tier: default, order: 1, types: [Ingress], ingress: [{action: Allow}]}\n", Residual, []string{"ingress from anything, any port: GlobalNetworkPolicy early"},
		},
		"policies on trial, and those of the interfaces of nodes, do not count": {
			Calico, "apiVersion: projectcalico.org/v3\nkind: StagedGlobalNetworkPolicy\nmetadata: {name: s}\nspec: {order: 1, ingress: [{action: Allow}]}\n---\n" +
				calicoGlobal("raw", "{doNotTrack: true, applyOnForward: true, order: 1, ingress: [{action: Allow}]}") + calicoGlobal("dnat", "{preDNAT: true, applyOnForward: true, order: 1, ingress: [{action: Allow}]}"), Isolated, nil,
		},
		"a tier that is not there may be anywhere": {
			Calico, gnp + calicoGlobal("x", "{tier: ghost, ingress: [{action: Allow}]}"), Residual, []string{"ingress from anything, any port: GlobalNetworkPolicy x (assumed: the tier \"ghost\""},
		},
		"a selector that cannot be read may select anybody": {
			Calico, gnp + calicoGlobal("x", "{selector: 'app ~ 5', ingress: [{action: Allow}]}"), Isolated, nil, // it stands after the deny
		},
		"a selector that cannot be read is assumed to select the pod": {
			Calico, calicoGlobal("x", "{selector: 'app ~ 5', order: 1, ingress: [{action: Allow}]}"), Residual, []string{"ingress from anything", "egress to anything"},
		},
		"a deny that depends on more than the peer is not relied upon": {
			Calico, calicoGlobal("x", "{order: 1, types: [Ingress], ingress: [{action: Deny, ipVersion: 4}, {action: Deny, source: {ports: [1]}, protocol: TCP}]}") + np("open", "{podSelector: {}, ingress: [{}]}"), Residual, []string{"ingress from anything"},
		},
		"a ClusterNetworkPolicy may be too new for Calico": {
			Calico, cnp + np("allow-dns", allowDNS), Residual, []string{"egress to pods with app=dns"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, subject := shop(t, test.cni, test.policies)
			report, err := Evaluate(c, subject)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, flow := range report.Residual {
				lines = append(lines, flow.String())
			}
			if report.Verdict != test.want {
				t.Fatalf("verdict: got %s, want %s\n%s", report.Verdict, test.want, strings.Join(lines, "\n"))
			}
			if len(lines) != len(test.flows) {
				t.Fatalf("flows: got %d, want %d\n%s", len(lines), len(test.flows), strings.Join(lines, "\n"))
			}
			for i, part := range test.flows {
				if !strings.Contains(lines[i], part) {
					t.Errorf("flow %d: got %q, want in it %q", i, lines[i], part)
				}
			}
		})
	}
}

// Without the policy of a quarantine, what other policies deny by themselves is seen.
func TestWhatOtherPoliciesDenyIsReliedUponOnlyWhereItIsSure(t *testing.T) {
	open := np("open", "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]}")
	for name, test := range map[string]struct {
		cni             CNI
		policies        string
		ingress, egress bool // whether something remains
	}{
		"no policy":                          {Calico, "", true, true},
		"a policy of ingress only":           {Calico, np("in", "{podSelector: {}}"), false, true},
		"one with rules of ingress only":     {Calico, np("in", "{podSelector: {matchLabels: {"+quarantineLabel+": q-1}}, ingress: []}"), false, true},
		"a policy of egress only":            {Calico, np("out", "{podSelector: {}, policyTypes: [Egress]}"), true, false},
		"one that may be about another pod":  {Calico, np("odd", "{podSelector: {matchExpressions: [{key: a, operator: Near, values: [b]}]}, policyTypes: [Ingress, Egress]}"), true, true},
		"one of another namespace":           {Calico, strings.Replace(np("in", "{podSelector: {}}"), "namespace: shop", "namespace: bank", 1), true, true},
		"a deny that may not be enforced":    {Antrea, standing(t, AdminNetworkPolicy), true, true},
		"a deny in a tier that is not there": {Calico, calicoGlobal("x", "{tier: ghost, types: [Ingress, Egress], ingress: [{action: Deny}], egress: [{action: Deny}]}") + open, true, true},
		"a deny that is not understood":      {KubeNetworkPolicies, cluster("x", "{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: [0.0.0.0/0, '::/0']}], when: rain}]}"), true, true},
		"a deny of some ports":               {KubeNetworkPolicies, cluster("x", "{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: [0.0.0.0/0, '::/0']}], protocols: [{tcp: {}}, {udp: {}}]}]}"), true, true},
		"an allow that may be enforced comes before a deny that is": {
			KubeNetworkPolicies, np("none", "{podSelector: {}, policyTypes: [Ingress, Egress]}") + cluster("deny", "{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: [0.0.0.0/0, '::/0']}]}]}") +
				admin("allow", "{priority: 900, subject: {namespaces: {}}, egress: [{action: Allow, to: [{namespaces: {}}]}]}"), false, true,
		},
		"the default of a rule of Cilium that denies": {Cilium, cilium("deny", "{endpointSelector: {}, ingressDeny: [{fromEntities: [world]}]}"), false, true},
		"switched off":                         {Cilium, cilium("deny", "{endpointSelector: {}, enableDefaultDeny: {ingress: false}, ingressDeny: [{fromEntities: [world]}]}"), true, true},
		"an empty list of rules of Cilium":     {Cilium, cilium("none", "{endpointSelector: {}, ingress: []}"), true, true},
		"a policy of Calico without types":     {Calico, calico("none", "{selector: all()}"), false, true},
		"a policy of Calico with egress":       {Calico, calico("out", "{selector: all(), egress: [{action: Log}]}"), true, false},
		"a policy of Calico of other accounts": {Calico, calico("sa", "{serviceAccountSelector: projectcalico.org/name == 'other', types: [Ingress, Egress]}"), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, subject := shop(t, test.cni, test.policies)
			c.Policies = c.Policies[:len(c.Policies)-1]
			report, err := Evaluate(c, subject)
			if err != nil {
				t.Fatal(err)
			}
			for direction, want := range map[string]bool{Ingress: test.ingress, Egress: test.egress} {
				if got := slices.ContainsFunc(report.Residual, func(f Flow) bool { return f.Direction == direction }); got != want {
					t.Errorf("%s remains: got %t, want %t\n%v", direction, got, want, report.Residual)
				}
			}
		})
	}
}

func TestBlocksOfAddressesAreAboutPodsButForCilium(t *testing.T) {
	for _, cni := range enforcing {
		c, subject := shop(t, cni, np("pods", "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.1.0.0/16}}]}]}"))
		if got, why := c.Reachable(Endpoint{Pod: &subject}, Endpoint{Pod: &c.Pods[2]}, 53, "udp"); got != (cni != Cilium) {
			t.Errorf("%s: got %t (%s), want %t", cni, got, why, cni != Cilium)
		}
	}
}

func TestPodsThatNoPolicyIsAboutAreUnenforceable(t *testing.T) {
	for name, change := range map[string]func(*Cluster, *Pod){
		"a pod in its node's network":         func(_ *Cluster, p *Pod) { p.HostNetwork = true },
		"a static pod":                        func(_ *Cluster, p *Pod) { p.Static = true },
		"a network that enforces no policies": func(c *Cluster, _ *Pod) { c.CNI = None },
	} {
		t.Run(name, func(t *testing.T) {
			c, subject := shop(t, Calico, "")
			change(c, &subject)
			report, err := Evaluate(c, subject)
			if err != nil || report.Verdict != Unenforceable || len(report.Residual) != 2 || report.Connections != MayPersist {
				t.Errorf("got %+v, %v, want Unenforceable with everything remaining both ways", report, err)
			}
		})
	}
}

func TestAPodWithAFurtherNetworkIsNotIsolated(t *testing.T) {
	c, subject := shop(t, Calico, "")
	subject.Networks = []string{"storage"}
	report, err := Evaluate(c, subject)
	if err != nil || report.Verdict != Residual || len(report.Residual) != 2 || !strings.Contains(report.Residual[0].Peer, "network storage") {
		t.Errorf("got %+v, %v, want Residual in the network storage both ways", report, err)
	}
}

func TestWithoutAProviderNothingIsVerified(t *testing.T) {
	c, subject := shop(t, "", "")
	report, err := Evaluate(c, subject)
	if err != nil || report.Verdict != Unverified || len(report.Residual) != 0 || report.Connections != MayPersist {
		t.Errorf("got %+v, %v, want Unverified", report, err)
	}
	c, subject = shop(t, "", np("allow-dns", allowDNS))
	if report, err = Evaluate(c, subject); err != nil || report.Verdict != Residual || len(report.Residual) != 1 {
		t.Errorf("got %+v, %v, want the one flow that remains with every provider", report, err)
	}
	c, subject = shop(t, "", standing(t, ClusterNetworkPolicy)+np("allow-dns", allowDNS))
	report, err = Evaluate(c, subject)
	if err != nil || report.Verdict != Unverified || !strings.Contains(strings.Join(report.Notes, "\n"), "isolated if it is kube-network-policies.") {
		t.Errorf("got %+v, %v, want Unverified, and kube-network-policies named as the one that isolates", report, err)
	}
	c.CNI = "weave"
	if _, err := Evaluate(c, subject); err == nil || !strings.Contains(err.Error(), "name one of calico") {
		t.Errorf("got %v, want an error that says which providers are known", err)
	}
}

func TestConnectionsAreCutOnlyWhereEachPacketIsChecked(t *testing.T) {
	for _, cni := range CNIs() {
		c, subject := shop(t, cni, "")
		report, err := Evaluate(c, subject)
		if err != nil {
			t.Fatal(err)
		}
		want := MayPersist
		if cni == OVNKubernetes {
			want = Cut
		}
		if report.Connections != want {
			t.Errorf("%s: got %s, want %s", cni, report.Connections, want)
		}
	}
}

func TestTrafficWithTheOwnNodeIsANoteAndNoFlow(t *testing.T) {
	c, subject := shop(t, Calico, "")
	subject.Node = "n1"
	report, err := Evaluate(c, subject)
	if err != nil || len(report.Residual) > 0 || !slices.ContainsFunc(report.Notes, func(n string) bool { return strings.Contains(n, "own node") }) {
		t.Errorf("got %+v, %v, want no flow and a note", report, err)
	}
	kubelet := Pod{Namespace: "kube-system", Name: "proxy", Node: "n1", HostNetwork: true}
	if possible, why := c.Reachable(Endpoint{Pod: &kubelet}, Endpoint{Pod: &subject}, 80, "TCP"); !possible {
		t.Errorf("from the own node: got %s, want reachable", why)
	}
	kubelet.Node = "n2"
	if possible, why := c.Reachable(Endpoint{Pod: &kubelet}, Endpoint{Pod: &subject}, 80, "TCP"); possible {
		t.Errorf("from another node: got reachable (%s), want not", why)
	}
}

// Whoever may write policies in the namespace must not be able to stall the proof, or to win by it.
func TestPoliciesThatAreTooManyProveNothing(t *testing.T) {
	var selectors, blocks, ports []string
	for i := range 30000 {
		selectors = append(selectors, fmt.Sprintf("{podSelector: {matchLabels: {a: b%d}}}", i))
		blocks = append(blocks, fmt.Sprintf("10.%d.%d.0/25", i/250, i%250))
		ports = append(ports, fmt.Sprintf("{port: %d}", 1+2*i))
	}
	for name, rule := range map[string]string{
		"many peers":      "from: [" + strings.Join(selectors, ", ") + "]",
		"many exceptions": "from: [{ipBlock: {cidr: 10.0.0.0/8, except: [" + strings.Join(blocks, ", ") + "]}}]",
		"many ports":      "ports: [" + strings.Join(ports, ", ") + "]",
	} {
		t.Run(name, func(t *testing.T) {
			c, subject := shop(t, Calico, np("huge", "{podSelector: {}, ingress: [{"+rule+"}]}"))
			report, err := Evaluate(c, subject)
			if err != nil || report.Verdict != Residual || !strings.Contains(report.Residual[0].Reason, "too many to prove") {
				t.Errorf("got %s, %v, want Residual, because there are too many", report.Verdict, err)
			}
		})
	}
}

func TestIgnoredPoliciesAreNoted(t *testing.T) {
	c, subject := shop(t, Cilium, standing(t, ClusterNetworkPolicy))
	report, err := Evaluate(c, subject)
	if err != nil || !slices.ContainsFunc(report.Notes, func(n string) bool {
		return n == "1 of kind ClusterNetworkPolicy are ignored: cilium does not enforce them."
	}) {
		t.Errorf("got %q, %v, want a note on the ClusterNetworkPolicy", report.Notes, err)
	}
}
