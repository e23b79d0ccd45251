# METADATA
# title: Read-only root file system by default
# description: |
#   In a writable root file system an attacker replaces programs, keeps tools and leaves web shells.
#   Containers that say nothing get readOnlyRootFilesystem: true. Programs that write need an
#   emptyDir where they do, so switch this on where workloads are known to; a container that
#   says false stays as it is.
# related_resources:
#   - https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
# custom:
#   severity: low
#   match:
#     workload: pods
#   remediation: Set securityContext.readOnlyRootFilesystem of every container to true and mount an emptyDir where it writes.
#   controls:
#     nsa: [pod-security/read-only-root]
#     cis: ["5.6.3"]
#     nist-800-190: ["4.4.4"]
#     owasp-k8s: [K01]
package portcullis.patch.read_only_root

import data.portcullis.lib.patching

# The normal form has false for a container that says nothing too: setIfAbsent tells them apart.
patch contains {"path": path, "setIfAbsent": true} if {
	some container in input.workload.containers
	not container.securityContext.readOnlyRootFilesystem
	input.workload.os != "windows"
	patching.brings(container.path, container.name)
	path := array.concat(patching.segments(container.path), ["securityContext", "readOnlyRootFilesystem"])
}
