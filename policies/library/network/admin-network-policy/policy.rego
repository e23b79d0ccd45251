# METADATA
# title: Admin network policies that allow everything
# description: |
#   An AdminNetworkPolicy, or a ClusterNetworkPolicy of the tier Admin, is evaluated before all
#   NetworkPolicies, and what it allows no namespace can deny. A rule that allows every pod of every
#   namespace, or every address, therefore switches off all isolation of the pods it is about, without
#   a trace in their namespaces. Rules for single ports, such as DNS for everybody, are what these
#   policies are for.
# related_resources:
#   - https://network-policy-api.sigs.k8s.io/api-overview/
# custom:
#   severity: high
#   match:
#     resources: [{group: policy.networking.k8s.io, resources: [adminnetworkpolicies, clusternetworkpolicies]}]
#   remediation: Limit the rule to namespaces, pods, blocks or single ports, or let it Pass so that NetworkPolicies decide.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       widestIPv4:
#         description: The shortest prefix that an IPv4 network may have, alone or together with others; 0 allows every network.
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
package portcullis.network.admin_network_policy

import data.portcullis.lib.cidr
import data.portcullis.lib.peers

deny contains finding if {
	some at in rules
	some peer in at.peers
	peer.namespaces
	not peers.narrows(peer, "namespaces")
	finding := open(at.path, "every namespace")
}

deny contains finding if {
	some at in rules
	some peer in at.peers
	peer.pods
	not peers.narrows(peer.pods, "namespaceSelector")
	not peers.narrows(peer.pods, "podSelector")
	finding := open(at.path, "every pod of every namespace")
}

deny contains finding if {
	some at in rules
	some peer in at.peers
	some network in peer.networks
	whole := too_wide[network]
	finding := open(at.path, cidr.extent(network, whole))
}

open(path, what) := {
	"msg": sprintf("%s allows %s before any NetworkPolicy is asked", [path, what]),
	"path": concat("", [path, ".action"]),
	"fix": [{"op": "set", "path": concat("", [path, ".action"]), "value": "Pass"}],
}

# rules are those that allow more than single ports.
rules contains {"path": path, "peers": rule.from} if {
	some i, rule in input.object.spec.ingress
	allows(rule)
	path := sprintf("spec.ingress[%d]", [i])
}

rules contains {"path": path, "peers": rule.to} if {
	some i, rule in input.object.spec.egress
	allows(rule)
	path := sprintf("spec.egress[%d]", [i])
}

allows(rule) if {
	rule.action in ["Allow", "Accept"]
	not limited(rule)
	not below_network_policies
}

below_network_policies if input.object.spec.tier == "Baseline"

limited(rule) if {
	rule.ports[0]
	every entry in rule.ports { single(entry) }
}

limited(rule) if {
	rule.protocols[0]
	every entry in rule.protocols { single(entry) }
}

# Version v1alpha1 has portNumber and namedPort, v1alpha2 a protocol with a destinationPort.
single(entry) if entry.portNumber.port

single(entry) if entry.namedPort

single(entry) if entry.destinationNamedPort

single(entry) if {
	some protocol in ["tcp", "udp", "sctp"]
	entry[protocol].destinationPort.number
}

too_wide := cidr.too_wide(
	{network | some at in rules; some peer in at.peers; some network in peer.networks},
	{"IPv4": input.parameters.widestIPv4, "IPv6": input.parameters.widestIPv6},
)
