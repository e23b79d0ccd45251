# METADATA
# title: No privilege escalation by default
# description: |
#   Unless told otherwise Kubernetes lets a process gain rights its parent had not, so that an
#   attacker who runs code as an ordinary user becomes root with any setuid program in the image.
#   Containers that say nothing get allowPrivilegeEscalation: false, except those that are privileged
#   or have SYS_ADMIN, for which Kubernetes always allows it and refuses false.
# related_resources:
#   - https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
# custom:
#   severity: medium
#   match:
#     workload: pods
#   remediation: Set securityContext.allowPrivilegeEscalation of every container to false.
#   controls:
#     nsa: [pod-security/privilege-escalation]
#     cis: ["5.2.6"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.patch.no_privilege_escalation

import data.portcullis.lib.patching

# A container that says false needs nothing either, and setIfAbsent leaves it as it is.
patch contains {"path": path, "setIfAbsent": false} if {
	some container in input.workload.containers
	not container.securityContext.allowPrivilegeEscalation
	not container.securityContext.privileged
	not escalates(container.securityContext.capabilities.add)
	input.workload.os != "windows"
	patching.brings(container.path, container.name)
	path := array.concat(patching.segments(container.path), ["securityContext", "allowPrivilegeEscalation"])
}

escalates(added) if {
	some capability in added
	capability in {"SYS_ADMIN", "CAP_SYS_ADMIN", "ALL"}
}
