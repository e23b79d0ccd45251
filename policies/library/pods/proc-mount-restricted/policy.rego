# METADATA
# title: Unmasked /proc
# description: |
#   Runtimes hide or write-protect parts of /proc that lead into the kernel, such as /proc/sys,
#   /proc/kcore and /proc/sysrq-trigger. Even in a user namespace an unmasked /proc shows an attacker
#   details of the node and widens what of the kernel it can attack; ordinary services need none of it.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
#   - https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/4265-proc-mount
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Remove securityContext.procMount, or set it to Default.
#   controls:
#     pss: [restricted/procMount_restricted]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.proc_mount_restricted

deny contains finding if {
	some container in input.workload.containers
	container.securityContext.procMount != "Default"
	path := concat("", [container.path, ".securityContext.procMount"])
	finding := {
		"msg": sprintf("container %q sets procMount %q", [container.name, container.securityContext.procMount]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}
