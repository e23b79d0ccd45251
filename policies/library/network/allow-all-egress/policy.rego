# METADATA
# title: NetworkPolicies that allow all egress
# description: |
#   A rule without peers lets the selected pods connect to everything: other tenants, the API server,
#   the metadata service of the cloud, and whatever host collects stolen data or sends commands.
#   NetworkPolicies add up, so one such rule undoes all others for the pods it selects. An empty
#   namespaceSelector is every pod of the cluster, 0.0.0.0/0 every address, and so are 0.0.0.0/1 and
#   128.0.0.0/1 side by side: blocks are judged by what they make together, over all rules of a
#   policy. An except does not make a block narrower.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/network-policies/
# custom:
#   severity: high
#   match:
#     resources: [{group: networking.k8s.io, resources: [networkpolicies]}]
#   remediation: Name the pods, namespaces or address blocks that the pods have to reach.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       allowedPorts:
#         description: Ports, by number or name, that may be open to everybody. A rule that names only such ports is not judged.
#         type: array
#         items: {type: [integer, string]}
#         default: []
#       widestIPv4:
#         description: The shortest prefix that an IPv4 block may have, alone or together with others; 0 allows every block.
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
package portcullis.network.allow_all_egress

import data.portcullis.lib.cidr
import data.portcullis.lib.peers

# What is put in place of a peer that is too wide: the pods of the policy's own namespace.
same_namespace := {"podSelector": {}}

deny contains finding if {
	some i, rule in rules
	not rule.to[0]
	path := sprintf("spec.egress[%d].to", [i])
	finding := {
		"msg": sprintf("egress rule %d names no peers, which allows all destinations", [i]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": [same_namespace]}],
	}
}

deny contains finding if {
	some i, rule in rules
	some j, peer in rule.to
	peers.every_pod(peer)
	path := sprintf("spec.egress[%d].to[%d]", [i, j])
	finding := {
		"msg": sprintf("egress rule %d allows every pod of every namespace", [i]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": same_namespace}],
	}
}

deny contains finding if {
	some i, rule in rules
	some j, peer in rule.to
	whole := too_wide[peer.ipBlock.cidr]
	path := sprintf("spec.egress[%d].to[%d]", [i, j])
	finding := {
		"msg": sprintf("egress rule %d allows %s", [i, cidr.extent(peer.ipBlock.cidr, whole)]),
		"path": concat("", [path, ".ipBlock.cidr"]),
		"fix": [{"op": "set", "path": path, "value": same_namespace}],
	}
}

deny contains finding if {
	some i, rule in rules
	some j, peer in rule.to
	not cidr.readable(peer.ipBlock.cidr)
	path := sprintf("spec.egress[%d].to[%d]", [i, j])
	finding := {
		"msg": sprintf("egress rule %d allows %q, which is no address block in plain notation", [i, peer.ipBlock.cidr]),
		"path": concat("", [path, ".ipBlock.cidr"]),
		"fix": [{"op": "set", "path": path, "value": same_namespace}],
	}
}

# rules are those that are about more than the ports everybody may use, by index.
rules[i] := rule if {
	some i, rule in input.object.spec.egress
	not peers.limited(rule, input.parameters.allowedPorts)
}

too_wide := cidr.too_wide(
	{peer.ipBlock.cidr | some rule in rules; some peer in rule.to},
	{"IPv4": input.parameters.widestIPv4, "IPv6": input.parameters.widestIPv6},
)
