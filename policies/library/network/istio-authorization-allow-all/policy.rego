# METADATA
# title: Istio authorization policies that allow everything
# description: |
#   A rule without from, to and when matches every request, and ALLOW rules add up: one such rule
#   undoes all others for the workloads it selects. A source "*" is every workload that has some
#   identity in the mesh, the attacker's own included; the block 0.0.0.0/0 is every address. A policy
#   without rules is the opposite: it allows nothing.
# related_resources:
#   - https://istio.io/latest/docs/reference/config/security/authorization-policy/
# custom:
#   severity: high
#   match:
#     resources: [{group: security.istio.io, resources: [authorizationpolicies]}]
#   remediation: Name the principals or namespaces that may call, in place of the placeholder of the fix, and the paths they need.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       wildcards:
#         description: Values of a source that match everybody.
#         type: array
#         items: {type: string}
#         default: ["*"]
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
package portcullis.network.istio_authorization_allow_all

import data.portcullis.lib.cidr

# A placeholder that the author replaces.
some_source := {"source": {"principals": ["cluster.local/ns/replace-me/sa/replace-me"]}}

deny contains finding if {
	allows
	some i, rule in input.object.spec.rules
	not rule.from[0]
	not rule.to[0]
	not rule.when[0]
	path := sprintf("spec.rules[%d].from", [i])
	finding := {
		"msg": sprintf("rule %d allows every request", [i]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": [some_source]}],
	}
}

deny contains finding if {
	allows
	some i, rule in input.object.spec.rules
	some j, from in rule.from
	some field in ["principals", "requestPrincipals", "namespaces", "serviceAccounts"]
	some value in from.source[field]
	value in input.parameters.wildcards
	finding := objection(i, j, sprintf("source.%s: %s", [field, value]))
}

deny contains finding if {
	allows
	some i, rule in input.object.spec.rules
	some j, from in rule.from
	some field in ["ipBlocks", "remoteIpBlocks"]
	some block in from.source[field]
	whole := too_wide[block]
	finding := objection(i, j, sprintf("source.%s: %s", [field, cidr.extent(block, whole)]))
}

# ALLOW is the default; the other actions deny, delegate or only record.
allows if object.get(input.object.spec, "action", "ALLOW") == "ALLOW"

too_wide := cidr.too_wide(
	{block |
		some source in input.object.spec.rules[_].from[_]
		some field in ["ipBlocks", "remoteIpBlocks"]
		some block in source[field]
	},
	{"IPv4": input.parameters.widestIPv4, "IPv6": input.parameters.widestIPv6},
)

objection(i, j, what) := {
	"msg": sprintf("rule %d allows everybody by %s", [i, what]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": some_source}],
} if {
	path := sprintf("spec.rules[%d].from[%d]", [i, j])
}
