# METADATA
# title: Pods outside the Consul mesh
# description: |
#   A pod without the proxy neither proves who it is nor checks who calls: intentions do not exist
#   for it. Without the transparent proxy, or with ports and addresses excluded from it, the
#   application is reached and calls others past the mesh, in plaintext.
# related_resources:
#   - https://developer.hashicorp.com/consul/docs/reference/k8s/annotation-label
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Remove the annotation from the pod template.
#   controls:
#     nsa: [network-separation/tls]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       annotations:
#         description: Annotations that take traffic out of the mesh, with globs of the values that do.
#         type: array
#         items:
#           type: object
#           required: [key, values]
#           additionalProperties: false
#           properties:
#             key: {type: string}
#             values: {type: array, minItems: 1, items: {type: string}}
#         default:
#           - {key: consul.hashicorp.com/connect-inject, values: ["false", "0", f, F, "False", "FALSE"]}
#           - {key: consul.hashicorp.com/transparent-proxy, values: ["false", "0", f, F, "False", "FALSE"]}
#           - {key: consul.hashicorp.com/transparent-proxy-exclude-inbound-ports, values: ["?*"]}
#           - {key: consul.hashicorp.com/transparent-proxy-exclude-outbound-ports, values: ["?*"]}
#           - {key: consul.hashicorp.com/transparent-proxy-exclude-outbound-cidrs, values: ["?*"]}
#           - {key: consul.hashicorp.com/transparent-proxy-exclude-uids, values: ["?*"]}
package portcullis.network.consul_opt_out

deny contains finding if {
	some entry in input.workload.annotations
	some forbidden in input.parameters.annotations
	entry.key == forbidden.key
	some pattern in forbidden.values
	glob.match(pattern, null, entry.value)
	path := sprintf("%s.annotations[%s]", [input.workload.metadataPath, entry.key])
	finding := {
		"msg": sprintf("%s: %s takes the pod or some of its traffic out of the mesh", [entry.key, entry.value]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}
