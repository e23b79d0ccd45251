# METADATA
# title: Pods outside the Linkerd mesh
# description: |
#   A pod without the proxy neither proves who it is nor checks who calls. Ports and subnets that
#   skip the proxy are open and in plaintext, unseen by every authorisation policy, and a default
#   inbound policy of all-unauthenticated lets callers without an identity in.
# related_resources:
#   - https://linkerd.io/2/reference/proxy-configuration/
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
#           - {key: linkerd.io/inject, values: [disabled]}
#           - {key: config.linkerd.io/skip-inbound-ports, values: ["?*"]}
#           - {key: config.linkerd.io/skip-outbound-ports, values: ["?*"]}
#           - {key: config.linkerd.io/skip-subnets, values: ["?*"]}
#           - {key: config.linkerd.io/default-inbound-policy, values: [all-unauthenticated, cluster-unauthenticated, audit]}
package portcullis.network.linkerd_opt_out

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
