# METADATA
# title: Workloads without a default-deny NetworkPolicy
# description: |
#   Where no NetworkPolicy selects a pod, everything may talk to it and it may talk to everything.
#   One broken web application then reaches every database, kubelet and metadata service of the
#   cluster. A NetworkPolicy that selects all pods of the namespace turns this round: what no rule
#   allows is denied. Such a policy may carry rules of its own, but none without peers.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/network-policies/#default-policies
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Apply a NetworkPolicy with an empty podSelector and the missing policyTypes to the namespace, before its workloads.
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
#         description: Which traffic has to be denied by default. Egress is a step for later, since it takes rules for DNS and every service used.
#         type: array
#         items: {enum: [Ingress, Egress]}
#         minItems: 1
#         default: [Ingress]
package portcullis.network.default_deny

import data.portcullis.lib.isolation

deny contains finding if {
	some direction in input.parameters.directions
	not isolation.denied(direction)
	finding := {
		"msg": sprintf("no NetworkPolicy of namespace %q denies %s by default", [input.request.namespace, lower(direction)]),
		"path": "metadata.namespace",
		"details": {"namespace": input.request.namespace, "direction": direction},
	}
}
