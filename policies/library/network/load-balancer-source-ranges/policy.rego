# METADATA
# title: Load balancers open to everybody
# description: |
#   A Service of type LoadBalancer gets an address that, in most clouds, is public from the first
#   second. Without loadBalancerSourceRanges, or with ranges that are or add up to the whole address
#   space, scanners find it within minutes: admin consoles, databases and test systems are taken over
#   this way.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [services]}]
#   remediation: List the blocks that may connect in spec.loadBalancerSourceRanges, in place of the placeholder of the fix.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       widestIPv4:
#         description: The shortest prefix that an IPv4 range may have, alone or together with others; 0 allows every range, but one has to be written down.
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
package portcullis.network.load_balancer_source_ranges

import data.portcullis.lib.cidr

# A placeholder that the author replaces: addresses for documentation (RFC 5737).
some_range := "192.0.2.0/24"

deny contains finding if {
	input.object.spec.type == "LoadBalancer"
	not input.object.spec.loadBalancerSourceRanges[0]
	finding := {
		"msg": "the load balancer accepts connections from everywhere",
		"path": "spec.loadBalancerSourceRanges",
		"fix": [{"op": "set", "path": "spec.loadBalancerSourceRanges", "value": [some_range]}],
	}
}

deny contains finding if {
	input.object.spec.type == "LoadBalancer"
	some i, range in input.object.spec.loadBalancerSourceRanges
	whole := too_wide[trim_space(range)]
	path := sprintf("spec.loadBalancerSourceRanges[%d]", [i])
	finding := {
		"msg": sprintf("the load balancer accepts connections from %s", [cidr.extent(range, whole)]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": some_range}],
	}
}

# The API server trims the ranges before it reads them.
too_wide := cidr.too_wide(
	{trim_space(range) | some range in input.object.spec.loadBalancerSourceRanges},
	{"IPv4": input.parameters.widestIPv4, "IPv6": input.parameters.widestIPv6},
)
