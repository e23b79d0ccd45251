# METADATA
# title: Namespaces without a default-deny NetworkPolicy
# description: |
#   A namespace without a NetworkPolicy that selects all its pods is open: whatever is started in it
#   can be reached from everywhere. This is default-deny for the namespace itself, so that one report
#   lists the namespaces that lack it. It is not asked at the API server, where a namespace must
#   exist before a NetworkPolicy can be put into it.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/network-policies/#default-policies
# custom:
#   severity: medium
#   match:
#     resources: [{group: "", resources: [namespaces]}]
#   doors: [gate, audit]
#   remediation: Put a NetworkPolicy with an empty podSelector and the missing policyTypes into the namespace.
#   fix: none
#   fixReason: what is missing is another object, a NetworkPolicy.
#   controls:
#     nsa: [network-separation/network-policies]
#     cis: ["5.3.2"]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   reads:
#     - {group: networking.k8s.io, resource: networkpolicies, scope: namespace, more: allows}
#   parameters:
#     type: object
#     properties:
#       directions:
#         description: Which traffic has to be denied by default.
#         type: array
#         items: {enum: [Ingress, Egress]}
#         minItems: 1
#         default: [Ingress]
package portcullis.network.default_deny_namespace

import data.portcullis.lib.isolation

deny contains finding if {
	some direction in input.parameters.directions
	not isolation.denied(direction)
	finding := {
		"msg": sprintf("no NetworkPolicy denies %s to namespace %q by default", [lower(direction), input.request.namespace]),
		"path": "",
		"details": {"direction": direction},
	}
}
