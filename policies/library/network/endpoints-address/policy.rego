# METADATA
# title: Endpoints at forbidden addresses
# description: |
#   A Service without a selector sends its traffic to whatever its Endpoints or EndpointSlices say,
#   and a tenant may write those. The addresses are then asked by someone else: the Ingress
#   controller, which may reach what the tenant cannot, such as its own loopback, the metadata
#   service of the cloud or the control plane. The API server refuses loopback and link-local
#   addresses in some versions and notations; metadata services elsewhere it does not know.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors
#   - https://github.com/kubernetes/kubernetes/issues/103675
# custom:
#   severity: high
#   match:
#     resources:
#       - {group: "", resources: [endpoints]}
#       - {group: discovery.k8s.io, resources: [endpointslices]}
#   remediation: Remove the address, or let a selector choose the pods of the Service.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       forbidden:
#         description: |
#           Blocks in which no endpoint may lie. Add the addresses of the control plane and of your
#           management network.
#         type: array
#         items: {type: string, pattern: "^[0-9a-fA-F.:]+/[0-9]+$"}
#         default:
#           - 0.0.0.0/8
#           - 127.0.0.0/8
#           - 169.254.0.0/16
#           - 100.100.100.200/32
#           - 168.63.129.16/32
#           - "::/127"
#           - fe80::/10
#           - fd00:ec2::254/128
package portcullis.network.endpoints_address

import data.portcullis.lib.cidr

deny contains finding if {
	some list in ["addresses", "notReadyAddresses"]
	some i, subset in input.object.subsets
	some j, address in subset[list]
	finding := objection(address.ip, sprintf("subsets[%d].%s[%d]", [i, list, j]), "ip")
}

# An endpoint of a slice cannot be without addresses, so the whole of it goes.
deny contains finding if {
	some i, endpoint in input.object.endpoints
	some j, address in endpoint.addresses
	finding := objection(address, sprintf("endpoints[%d]", [i]), sprintf("addresses[%d]", [j]))
}

objection(address, item, field) := {
	"msg": sprintf("%s is an endpoint at a forbidden address", [address]),
	"path": concat(".", [item, field]),
	"fix": [{"op": "remove", "path": item}],
} if {
	cidr.holds(input.parameters.forbidden, address)
}
