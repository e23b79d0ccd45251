# METADATA
# title: Resource limits
# description: |
#   A container without a memory limit can take the whole node: a leak or an attacker then has
#   the kernel kill other tenants' processes. A cpu limit is asked for only by parameter, since
#   cpu is shared fairly by requests and a limit throttles even on an idle node. A limit of the pod as a whole counts.
# related_resources:
#   - https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Set resources.limits.memory (and resources.limits.cpu where asked for) to the most the container may use.
#   controls:
#     nsa: [network/resource-policies]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
#   parameters:
#     type: object
#     properties:
#       cpu:
#         description: Ask for a cpu limit too.
#         type: boolean
#         default: false
package portcullis.pods.resource_limits

# Ephemeral containers cannot be limited: the API server refuses the field.
# Absence and zero (which means no limit) are two rules, since neither test is true of the other.

deny contains finding if {
	some container in input.workload.containers
	not container.resources.limits.memory
	container.role != "ephemeral"
	not "memory" in of_the_pod
	finding := objection(container, "memory", "512Mi")
}

deny contains finding if {
	some container in input.workload.containers
	container.resources.limits.memory.value == 0
	not "memory" in of_the_pod
	finding := objection(container, "memory", "512Mi")
}

deny contains finding if {
	input.parameters.cpu
	some container in input.workload.containers
	not container.resources.limits.cpu
	container.role != "ephemeral"
	not "cpu" in of_the_pod
	finding := objection(container, "cpu", "1")
}

deny contains finding if {
	input.parameters.cpu
	some container in input.workload.containers
	container.resources.limits.cpu.milli == 0
	not "cpu" in of_the_pod
	finding := objection(container, "cpu", "1")
}

# What the pod is limited in as a whole (spec.resources, KEP-2837) holds for all its containers.

of_the_pod contains "cpu" if input.workload.resources.limits.cpu.milli > 0

of_the_pod contains "memory" if input.workload.resources.limits.memory.value > 0

objection(container, resource, value) := {
	"msg": sprintf("container %q has no %s limit", [container.name, resource]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": value}],
} if {
	path := concat("", [container.path, ".resources.limits.", resource])
}
