# METADATA
# title: External IPs
# description: |
#   Whoever may create a Service can list any address in externalIPs, and every node then sends what
#   its pods address there to the Service (CVE-2020-8554). That needs no more rights than a tenant
#   has, and reads or forges the traffic of the others: to their DNS server, to the API server, to a
#   payment provider. There is no fix in Kubernetes; the field has to be refused.
# related_resources:
#   - https://github.com/kubernetes/kubernetes/issues/97076
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [services]}]
#   remediation: Remove the address from spec.externalIPs and use a Service of type LoadBalancer, an Ingress or a Gateway.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Blocks of addresses that the cluster's network routes to its nodes and tenants may take.
#         type: array
#         items: {type: string, pattern: "^[0-9a-fA-F.:]+/[0-9]+$"}
#         default: []
package portcullis.network.external_ips

import data.portcullis.lib.cidr

deny contains finding if {
	some i, address in input.object.spec.externalIPs
	not cidr.holds(input.parameters.allowed, address)
	path := sprintf("spec.externalIPs[%d]", [i])
	finding := {
		"msg": sprintf("the Service takes the traffic to %s", [address]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}
