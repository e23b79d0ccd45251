# METADATA
# title: Seccomp switched off
# description: |
#   The runtime's seccomp profile blocks several dozen system calls that ordinary programs never
#   make, among them those behind most kernel exploits that lead out of containers. Unconfined gives
#   them all back to whoever runs code in the container.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
#   - https://kubernetes.io/docs/tutorials/security/seccomp/
# custom:
#   severity: high
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
#   remediation: Set seccompProfile.type to RuntimeDefault, or to a Localhost profile of your own.
#   controls:
#     pss: [baseline/seccompProfile_baseline]
#     nsa: [pod-security/seccomp]
#     cis: ["5.6.2"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.seccomp_baseline

deny contains forbidden(profile.type, profile.path) if {
	some container in input.workload.containers
	profile := container.securityContext.seccompProfile
	not profile.type in input.parameters.types
}

# The pod's own profile is refused even if every container overrides it, since an
# ephemeral container would inherit it.
deny contains forbidden(profile.type, profile.path) if {
	profile := input.workload.securityContext.seccompProfile
	not profile.type in input.parameters.types
}

# A profile that containers inherit from the pod is one finding: same path, same message.
forbidden(type, path) := {
	"msg": sprintf("seccomp profile type %q is not allowed", [type]),
	"path": concat("", [path, ".type"]),
	"fix": [{"op": "set", "path": path, "value": {"type": "RuntimeDefault"}}],
}
