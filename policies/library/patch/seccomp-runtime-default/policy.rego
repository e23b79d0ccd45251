# METADATA
# title: Seccomp profile by default
# description: |
#   A container without a seccomp profile runs unconfined: all system calls are open to whoever runs
#   code in it, those behind most container escapes included. Pods that say nothing get the
#   runtime's own profile, which fits nearly every program; a profile that is set, were it
#   Unconfined, is left for the pods policies to judge.
# related_resources:
#   - https://kubernetes.io/docs/tutorials/security/seccomp/
# custom:
#   severity: medium
#   match:
#     workload: pods
#   remediation: Set securityContext.seccompProfile.type of the pod to RuntimeDefault.
#   controls:
#     nsa: [pod-security/seccomp]
#     cis: ["5.6.2"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.patch.seccomp_runtime_default

import data.portcullis.lib.patching

patch contains {"path": ["spec", "securityContext", "seccompProfile"], "set": {"type": "RuntimeDefault"}} if {
	some container in input.workload.containers
	not container.securityContext.seccompProfile
	input.request.operation == "CREATE"
	input.workload.os != "windows"
	not input.workload.mirror
	not annotated
}

# The pod's own field cannot be changed any more when an ephemeral container comes.
patch contains {"path": path, "set": {"type": "RuntimeDefault"}} if {
	some container in input.workload.containers
	not container.securityContext.seccompProfile
	input.request.operation == "UPDATE"
	input.workload.os != "windows"
	patching.brings(container.path, container.name)
	path := array.concat(patching.segments(container.path), ["securityContext", "seccompProfile"])
}

# The API server refuses a field that contradicts the annotation of old, which itself
# no longer has any effect.
annotated if {
	some annotation in input.workload.annotations
	annotation.key == "seccomp.security.alpha.kubernetes.io/pod"
	not annotation.value in {"runtime/default", "docker/default"}
}
