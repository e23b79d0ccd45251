# METADATA
# title: SELinux options
# description: |
#   SELinux confines containers by their type. A type such as spc_t, or a user or role of one's own,
#   takes a container out of that confinement: an attacker in it then reaches the node's files and
#   the other containers' as if SELinux were off.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
# custom:
#   severity: high
#   match:
#     workload: any
#   parameters:
#     type: object
#     properties:
#       types:
#         description: SELinux types that may be set.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [container_t, container_init_t, container_kvm_t, container_engine_t]
#   remediation: Use one of the container types and leave seLinuxOptions.user and seLinuxOptions.role unset.
#   controls:
#     pss: [baseline/seLinuxOptions]
#     nsa: [pod-security/se-linux]
#     cis: ["5.6.3"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.se_linux

deny contains forbidden("type", options.type, options.path) if {
	some container in input.workload.containers
	options := container.securityContext.seLinuxOptions
	options.type != ""
	not options.type in input.parameters.types
}

deny contains forbidden("user", options.user, options.path) if {
	some container in input.workload.containers
	options := container.securityContext.seLinuxOptions
	options.user != ""
}

deny contains forbidden("role", options.role, options.path) if {
	some container in input.workload.containers
	options := container.securityContext.seLinuxOptions
	options.role != ""
}

# The pod's own options are refused even if every container overrides them, since an
# ephemeral container would inherit them.
deny contains forbidden("type", options.type, options.path) if {
	options := input.workload.securityContext.seLinuxOptions
	options.type != ""
	not options.type in input.parameters.types
}

deny contains forbidden("user", options.user, options.path) if {
	options := input.workload.securityContext.seLinuxOptions
	options.user != ""
}

deny contains forbidden("role", options.role, options.path) if {
	options := input.workload.securityContext.seLinuxOptions
	options.role != ""
}

# Options that containers inherit from the pod are one finding: same path, same message.
forbidden(field, value, options_path) := {
	"msg": sprintf("SELinux %s %q is not allowed", [field, value]),
	"path": path,
	"fix": [{"op": "remove", "path": path}],
} if {
	path := concat(".", [options_path, field])
}
