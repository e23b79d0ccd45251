# METADATA
# title: No capabilities by default
# description: |
#   A container that does not drop all capabilities keeps over a dozen from the runtime's default
#   set: material for an attacker to read foreign files, become another user and attack the kernel.
#   Containers get drop: [ALL]; what they add by name they keep. Images that start as root and change
#   to another user need SETUID and SETGID, so switch this on where workloads are known to do without.
# related_resources:
#   - https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
# custom:
#   severity: medium
#   match:
#     workload: pods
#   remediation: Set securityContext.capabilities.drop to ["ALL"] and add by name what the program needs.
#   controls:
#     cis: ["5.2.8", "5.2.10"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.patch.drop_all_capabilities

import data.portcullis.lib.patching

patch contains {"path": path, "set": ["ALL"]} if {
	some container in input.workload.containers
	not "ALL" in container.securityContext.capabilities.drop
	not container.securityContext.privileged
	input.workload.os != "windows"
	patching.brings(container.path, container.name)
	path := array.concat(patching.segments(container.path), ["securityContext", "capabilities", "drop"])
}
