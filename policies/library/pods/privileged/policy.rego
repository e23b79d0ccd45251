# METADATA
# title: Privileged containers
# description: |
#   A privileged container has every capability, no seccomp, AppArmor or SELinux confinement, and
#   the node's devices. Whoever takes it over mounts the node's disk or loads a kernel module, and
#   with that owns the node, its kubelet's credentials and every other pod on it.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
# custom:
#   severity: critical
#   match:
#     workload: any
#   remediation: Remove securityContext.privileged, or set it to false, and grant the one capability or device that is needed.
#   controls:
#     pss: [baseline/privileged]
#     nsa: [pod-security/privileged]
#     cis: ["5.2.2"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.privileged

deny contains finding if {
	some container in input.workload.containers
	container.securityContext.privileged
	path := concat("", [container.path, ".securityContext.privileged"])
	finding := {
		"msg": sprintf("container %q is privileged", [container.name]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}
