# METADATA
# title: Namespaces outside the mesh
# description: |
#   One label or annotation on a namespace takes all its pods out of the service mesh: no mutual TLS,
#   no identity, no authorisation, for whatever is started there from then on. It is one edit far
#   from the pods, and nothing about them shows it.
# related_resources:
#   - https://istio.io/latest/docs/reference/config/labels/
#   - https://linkerd.io/2/features/proxy-injection/
# custom:
#   severity: medium
#   match:
#     resources: [{group: "", resources: [namespaces]}]
#   remediation: Remove the label or annotation.
#   controls:
#     nsa: [network-separation/tls]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       labels:
#         description: Labels that take a namespace out of the mesh, with the values that do.
#         type: object
#         additionalProperties: {type: array, items: {type: string}}
#         default:
#           istio-injection: [disabled]
#           istio.io/dataplane-mode: [none]
#       annotations:
#         description: Annotations that take a namespace or some of its traffic out of the mesh, with the values that do.
#         type: object
#         additionalProperties: {type: array, items: {type: string}}
#         default:
#           linkerd.io/inject: [disabled]
#           config.linkerd.io/default-inbound-policy: [all-unauthenticated, cluster-unauthenticated, audit]
package portcullis.network.mesh_namespace_opt_out

deny contains finding if {
	some key, value in input.object.metadata.labels
	value in input.parameters.labels[key]
	finding := objection("labels", key, value)
}

deny contains finding if {
	some key, value in input.object.metadata.annotations
	value in input.parameters.annotations[key]
	finding := objection("annotations", key, value)
}

objection(field, key, value) := {
	"msg": sprintf("%s: %s takes the namespace or some of its traffic out of the mesh", [key, value]),
	"path": path,
	"fix": [{"op": "remove", "path": path}],
} if {
	path := sprintf("metadata.%s[%s]", [field, key])
}
