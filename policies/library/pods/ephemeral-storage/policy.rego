# METADATA
# title: Ephemeral storage
# description: |
#   Logs, emptyDir volumes and the writable layer all lie on the node's own disk. A container
#   without a limit can fill it; the kubelet then evicts every pod of the node, and pulls no
#   image any more. The request lets the scheduler leave room; a limit alone becomes the request.
# related_resources:
#   - https://kubernetes.io/docs/concepts/storage/ephemeral-storage/
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: Set resources.requests.ephemeral-storage and resources.limits.ephemeral-storage to what the container writes.
#   controls:
#     nsa: [network/resource-policies]
#     owasp-k8s: [K01]
#   parameters:
#     type: object
#     properties:
#       limits:
#         description: Ask for a limit, not only for a request.
#         type: boolean
#         default: true
package portcullis.pods.ephemeral_storage

# Ephemeral containers have no resources of their own: the API server refuses the field.
# Absence and zero are two rules, since neither test is true of the other.

deny contains finding if {
	some container in input.workload.containers
	not container.resources.requests.ephemeralStorage
	container.role != "ephemeral"
	finding := objection(container, "requests", "256Mi")
}

deny contains finding if {
	some container in input.workload.containers
	container.resources.requests.ephemeralStorage.value == 0
	finding := objection(container, "requests", "256Mi")
}

deny contains finding if {
	input.parameters.limits
	some container in input.workload.containers
	not container.resources.limits.ephemeralStorage
	container.role != "ephemeral"
	finding := objection(container, "limits", "1Gi")
}

deny contains finding if {
	input.parameters.limits
	some container in input.workload.containers
	container.resources.limits.ephemeralStorage.value == 0
	finding := objection(container, "limits", "1Gi")
}

objection(container, list, value) := {
	"msg": sprintf("container %q has no ephemeral storage in its %s", [container.name, list]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": value}],
} if {
	path := concat("", [container.path, ".resources.", list, "[ephemeral-storage]"])
}
