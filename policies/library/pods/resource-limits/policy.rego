# METADATA
# title: Resource limits
# description: |
#   A container without a memory limit can take the whole node: a leak or an attacker then has
#   the kernel kill other tenants' processes. A cpu limit is asked for only by parameter, since
#   cpu is shared fairly by requests and a limit throttles even on an idle node.
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

deny contains finding if {
	some container in input.workload.containers
	not container.resources.limits.memory.value > 0
	container.role != "ephemeral"
	path := concat("", [container.path, ".resources.limits.memory"])
	finding := {
		"msg": sprintf("container %q has no memory limit", [container.name]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": "512Mi"}],
	}
}

deny contains finding if {
	input.parameters.cpu
	some container in input.workload.containers
	not container.resources.limits.cpu.milli > 0
	container.role != "ephemeral"
	path := concat("", [container.path, ".resources.limits.cpu"])
	finding := {
		"msg": sprintf("container %q has no cpu limit", [container.name]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": "1"}],
	}
}
