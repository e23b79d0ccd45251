# METADATA
# title: Unmasked /proc outside a user namespace
# description: |
#   Runtimes hide or write-protect parts of /proc that lead into the kernel, such as /proc/sys,
#   /proc/kcore and /proc/sysrq-trigger. Unmasked, a container that runs as the node's root user
#   changes kernel settings and reads kernel memory. In a user namespace (hostUsers: false) the kernel
#   itself refuses that, and nested containers need an unmasked /proc.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
#   - https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/4265-proc-mount
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Remove securityContext.procMount, or run the pod in a user namespace with hostUsers set to false.
#   controls:
#     pss: [baseline/procMount]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.proc_mount

deny contains finding if {
	some container in input.workload.containers
	container.securityContext.procMount != "Default"
	input.workload.hostUsers
	path := concat("", [container.path, ".securityContext.procMount"])
	finding := {
		"msg": sprintf("container %q sets procMount %q", [container.name, container.securityContext.procMount]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}
