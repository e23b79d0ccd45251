# METADATA
# title: Seccomp not enabled
# description: |
#   Unless a kubelet is told otherwise, a container without a seccomp profile runs unconfined: all
#   system calls are open to whoever runs code in it, those behind most container escapes
#   included. So every container has to name a profile, or inherit the pod's. Windows has no seccomp.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
#   - https://kubernetes.io/docs/tutorials/security/seccomp/
# custom:
#   severity: medium
#   match:
#     workload: any
#   parameters:
#     type: object
#     properties:
#       types:
#         description: Types of seccomp profiles that may be set.
#         type: array
#         items: {enum: [RuntimeDefault, Localhost, Unconfined]}
#         default: [RuntimeDefault, Localhost]
#   remediation: Set securityContext.seccompProfile.type of the pod to RuntimeDefault.
#   controls:
#     pss: [restricted/seccompProfile_restricted]
#     nsa: [pod-security/seccomp]
#     cis: ["5.6.2"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.seccomp_restricted

deny contains finding if {
	some container in input.workload.containers
	not container.securityContext.seccompProfile
	input.workload.os != "windows"
	path := concat("", [container.path, ".securityContext.seccompProfile"])
	finding := {
		"msg": sprintf("container %q has no seccomp profile, nor has the pod", [container.name]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": {"type": "RuntimeDefault"}}],
	}
}

deny contains forbidden(profile.type, profile.path) if {
	some container in input.workload.containers
	profile := container.securityContext.seccompProfile
	not profile.type in input.parameters.types
	input.workload.os != "windows"
}

# The pod's own profile is refused even if every container overrides it, since an
# ephemeral container would inherit it.
deny contains forbidden(profile.type, profile.path) if {
	profile := input.workload.securityContext.seccompProfile
	not profile.type in input.parameters.types
	input.workload.os != "windows"
}

# A profile that containers inherit from the pod is one finding: same path, same message.
forbidden(type, path) := {
	"msg": sprintf("seccomp profile type %q is not allowed", [type]),
	"path": concat("", [path, ".type"]),
	"fix": [{"op": "set", "path": path, "value": {"type": "RuntimeDefault"}}],
}
