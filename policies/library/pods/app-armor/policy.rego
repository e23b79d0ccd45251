# METADATA
# title: AppArmor profiles
# description: |
#   The container runtime's AppArmor profile keeps a container from mounting file systems, from
#   writing below /proc and /sys and from tracing foreign processes. A pod that switches it off
#   opens these ways to an attacker who runs code in it. The deprecated annotations are judged as
#   well, since older nodes still obey them.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
#   - https://kubernetes.io/docs/tutorials/security/apparmor/
# custom:
#   severity: medium
#   match:
#     workload: any
#   parameters:
#     type: object
#     properties:
#       types:
#         description: Types of AppArmor profiles that may be set.
#         type: array
#         items: {enum: [RuntimeDefault, Localhost, Unconfined]}
#         default: [RuntimeDefault, Localhost]
#   remediation: Remove the AppArmor setting, or set its type to RuntimeDefault or to a Localhost profile of your own.
#   controls:
#     pss: [baseline/appArmorProfile]
#     nsa: [pod-security/app-armor]
#     cis: ["5.6.3"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.app_armor

deny contains forbidden(profile.type, profile.path) if {
	some container in input.workload.containers
	profile := container.securityContext.appArmorProfile
	not profile.type in input.parameters.types
}

# The pod's own profile is refused even if every container overrides it, since an
# ephemeral container would inherit it.
deny contains forbidden(profile.type, profile.path) if {
	profile := input.workload.securityContext.appArmorProfile
	not profile.type in input.parameters.types
}

deny contains finding if {
	some annotation in input.workload.appArmorAnnotations
	annotation.value != ""
	not annotation_allowed(annotation.value)
	finding := {
		"msg": sprintf("annotation sets AppArmor profile %q for container %q", [annotation.value, annotation.container]),
		"path": annotation.path,
		"fix": [{"op": "remove", "path": annotation.path}],
	}
}

# A profile that containers inherit from the pod is one finding: same path, same message.
forbidden(type, path) := {
	"msg": sprintf("AppArmor profile type %q is not allowed", [type]),
	"path": concat("", [path, ".type"]),
	"fix": [{"op": "remove", "path": path}],
}

annotation_allowed(value) if annotated_type(value) in input.parameters.types

annotated_type("runtime/default") := "RuntimeDefault"

annotated_type("unconfined") := "Unconfined"

annotated_type(value) := "Localhost" if startswith(value, "localhost/")
