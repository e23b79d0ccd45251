# METADATA
# title: Calico policies that allow everything
# description: |
#   An Allow rule of a Calico policy without a source (or, for egress, a destination) allows
#   everybody, and so does one whose selectors are all() or whose nets are or add up to 0.0.0.0/0.
#   Policies are evaluated in order and the first match decides: such a rule early in the order, in a
#   GlobalNetworkPolicy above all, switches off what every later policy denies. In a namespaced policy
#   a selector without a namespaceSelector means the own namespace.
# related_resources:
#   - https://docs.tigera.io/calico/latest/reference/resources/networkpolicy
#   - https://docs.tigera.io/calico/latest/reference/resources/globalnetworkpolicy
# custom:
#   severity: high
#   match:
#     resources:
#       - {group: projectcalico.org, resources: [networkpolicies, globalnetworkpolicies]}
#       - {group: crd.projectcalico.org, resources: [networkpolicies, globalnetworkpolicies]}
#   remediation: Name the peers that are meant by selector, service account or nets, in place of the placeholder of the fix.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       allowedPorts:
#         description: Destination ports, by number or name, that may be open to everybody. A rule that names only such ports may do without peers.
#         type: array
#         items: {type: [integer, string]}
#         default: []
#       widestIPv4:
#         description: The shortest prefix that an IPv4 net may have, alone or together with others; 0 allows every net.
#         type: integer
#         minimum: 0
#         maximum: 32
#         default: 8
#       widestIPv6:
#         description: The same for IPv6. The private addresses are fc00::/7, the public ones 2000::/3.
#         type: integer
#         minimum: 0
#         maximum: 128
#         default: 7
package portcullis.network.calico_allow_all

import data.portcullis.lib.cidr

# Placeholders of fixes, which the author replaces. The net is one for documentation (RFC 5737).
some_selector := "app == 'replace-me'"

some_net := "192.0.2.0/24"

deny contains finding if {
	some at in rules
	not chooses(peer(at))
	not limited(at.rule)
	path := concat(".", [at.path, at.side])
	finding := {
		"msg": sprintf("the rule allows every %s", [at.side]),
		"path": path,
		"fix": [{"op": "set", "path": concat(".", [path, "selector"]), "value": some_selector}],
	}
}

deny contains finding if {
	some at in rules
	some i, net in peer(at).nets
	whole := too_wide[at.side][net]
	path := sprintf("%s.%s.nets[%d]", [at.path, at.side, i])
	finding := {
		"msg": sprintf("the rule allows %s", [cidr.extent(net, whole)]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": some_net}],
	}
}

rules contains {"path": path, "side": "source", "rule": rule} if {
	some i, rule in input.object.spec.ingress
	rule.action == "Allow"
	path := sprintf("spec.ingress[%d]", [i])
}

rules contains {"path": path, "side": "destination", "rule": rule} if {
	some i, rule in input.object.spec.egress
	rule.action == "Allow"
	path := sprintf("spec.egress[%d]", [i])
}

peer(at) := object.get(at.rule, at.side, {})

# chooses says that a peer leaves something out. What it is not (notNets, notSelector)
# does not count.
chooses(peer) if peer.nets[0]

chooses(peer) if peer.domains[0]

chooses(peer) if peer.services.name

chooses(peer) if peer.serviceAccounts.names[0]

chooses(peer) if not everything(peer.serviceAccounts.selector)

chooses(peer) if not everything(peer.namespaceSelector)

chooses(peer) if not everything(peer.selector)

chooses(peer) if {
	peer.selector
	not peer.namespaceSelector
	input.request.resource.resource == "networkpolicies"
}

everything(selector) if regex.match(`^\s*(all\(\s*\)\s*(\|\|.*)?)?$`, selector)

limited(rule) if {
	rule.destination.ports[0]
	every port in rule.destination.ports { port in input.parameters.allowedPorts }
}

too_wide[side] := cidr.too_wide(
	{net | some at in rules; at.side == side; some net in peer(at).nets},
	{"IPv4": input.parameters.widestIPv4, "IPv6": input.parameters.widestIPv6},
) if {
	some side in ["source", "destination"]
}
