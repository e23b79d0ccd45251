# METADATA
# title: Pods outside the Istio mesh
# description: |
#   A pod without the sidecar neither proves who it is nor checks who calls: authorisation policies
#   do not exist for it, and its traffic is plaintext. Ports and address ranges that are excluded
#   from interception are such a pod in small: what listens there is open, what is sent there
#   leaves unseen. Istio takes every value of the inject label but true for a no.
# related_resources:
#   - https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/
#   - https://istio.io/latest/docs/reference/config/annotations/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Remove the label or annotation from the pod template.
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
#           - {key: traffic.sidecar.istio.io/excludeInboundPorts, values: ["?*"]}
#           - {key: traffic.sidecar.istio.io/excludeOutboundPorts, values: ["?*"]}
#           - {key: traffic.sidecar.istio.io/excludeOutboundIPRanges, values: ["?*"]}
#           - {key: traffic.sidecar.istio.io/excludeInterfaces, values: ["?*"]}
#           - {key: traffic.sidecar.istio.io/includeInboundPorts, values: ["", "[!*]*"]}
#           - {key: traffic.sidecar.istio.io/includeOutboundPorts, values: ["[!*]*"]}
#           - {key: traffic.sidecar.istio.io/includeOutboundIPRanges, values: ["", "[!*]*"]}
package portcullis.network.istio_sidecar_injection

# The label is the current form, the annotation the deprecated one.

deny contains finding if {
	some entry in input.workload.labels
	entry.key == "sidecar.istio.io/inject"
	not lower(entry.value) in injecting
	finding := objection("labels", entry)
}

deny contains finding if {
	some entry in input.workload.annotations
	entry.key == "sidecar.istio.io/inject"
	not lower(entry.value) in injecting
	finding := objection("annotations", entry)
}

deny contains finding if {
	some entry in input.workload.labels
	entry.key == "istio.io/dataplane-mode"
	entry.value == "none"
	finding := objection("labels", entry)
}

deny contains finding if {
	some entry in input.workload.annotations
	some forbidden in input.parameters.annotations
	entry.key == forbidden.key
	some pattern in forbidden.values
	glob.match(pattern, null, entry.value)
	finding := objection("annotations", entry)
}

injecting := {"", "y", "yes", "true", "on"}

objection(field, entry) := {
	"msg": sprintf("%s: %q takes the pod or some of its traffic out of the mesh", [entry.key, entry.value]),
	"path": path,
	"fix": [{"op": "remove", "path": path}],
} if {
	path := sprintf("%s.%s[%s]", [input.workload.metadataPath, field, entry.key])
}
