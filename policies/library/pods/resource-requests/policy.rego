# METADATA
# title: Resource requests
# description: |
#   The scheduler places pods by what they request. A container that requests nothing lands on
#   a node that has no room for it, starves its neighbours and is the first to be evicted.
#   A request of zero is no request. A limit without a request counts: it becomes the request. So do
#   requests of the pod as a whole.
# related_resources:
#   - https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Set resources.requests.cpu and resources.requests.memory to what the container uses in normal operation.
#   controls:
#     nsa: [network/resource-policies]
#     owasp-k8s: [K01]
package portcullis.pods.resource_requests

# Ephemeral containers cannot request anything: the API server refuses the field.
# Absence and zero are two rules, since neither test is true of the other.

deny contains finding if {
	some container in input.workload.containers
	not container.resources.requests.cpu
	container.role != "ephemeral"
	not "cpu" in of_the_pod
	finding := objection(container, "cpu", "100m")
}

deny contains finding if {
	some container in input.workload.containers
	container.resources.requests.cpu.milli == 0
	not "cpu" in of_the_pod
	finding := objection(container, "cpu", "100m")
}

deny contains finding if {
	some container in input.workload.containers
	not container.resources.requests.memory
	container.role != "ephemeral"
	not "memory" in of_the_pod
	finding := objection(container, "memory", "128Mi")
}

deny contains finding if {
	some container in input.workload.containers
	container.resources.requests.memory.value == 0
	not "memory" in of_the_pod
	finding := objection(container, "memory", "128Mi")
}

# What the pod asks for as a whole (spec.resources, KEP-2837) holds for all its containers.

of_the_pod contains "cpu" if input.workload.resources.requests.cpu.milli > 0

of_the_pod contains "memory" if input.workload.resources.requests.memory.value > 0

objection(container, resource, value) := {
	"msg": sprintf("container %q requests no %s", [container.name, resource]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": value}],
} if {
	path := concat("", [container.path, ".resources.requests.", resource])
}
