# METADATA
# title: Added capabilities
# description: |
#   Linux capabilities are root's power in pieces. Beyond those a runtime grants by default lie the
#   ways out of a container: SYS_ADMIN mounts the node's disk, SYS_PTRACE and SYS_MODULE take over
#   its processes and kernel, NET_ADMIN and NET_RAW redirect and forge the traffic of neighbours.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
#   - https://man7.org/linux/man-pages/man7/capabilities.7.html
# custom:
#   severity: high
#   match:
#     workload: any
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Capabilities that may be added, spelled exactly as in the manifest.
#         type: array
#         items: {type: string}
#         default:
#           - AUDIT_WRITE
#           - CHOWN
#           - DAC_OVERRIDE
#           - FOWNER
#           - FSETID
#           - KILL
#           - MKNOD
#           - NET_BIND_SERVICE
#           - SETFCAP
#           - SETGID
#           - SETPCAP
#           - SETUID
#           - SYS_CHROOT
#   remediation: Remove the capability from securityContext.capabilities.add, or move the work that needs it out of this pod.
#   controls:
#     pss: [baseline/capabilities_baseline]
#     cis: ["5.2.8", "5.2.9"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.capabilities_baseline

deny contains finding if {
	some container in input.workload.containers
	some i, capability in container.securityContext.capabilities.add
	not capability in input.parameters.allowed
	path := sprintf("%s.securityContext.capabilities.add[%d]", [container.path, i])
	finding := {
		"msg": sprintf("container %q adds capability %q", [container.name, capability]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}
