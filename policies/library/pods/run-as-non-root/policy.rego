# METADATA
# title: Containers that may run as root
# description: |
#   Without runAsNonRoot an image decides whether its process is root. Root in a container is root
#   on the node as soon as the container is left: through a mounted path, a kernel exploit or a
#   runtime's mistake (CVE-2019-5736). In a user namespace (hostUsers: false) that root is nobody
#   outside, so nothing is demanded there.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
#   - https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Set securityContext.runAsNonRoot of the pod to true and use an image whose user is a number other than 0.
#   controls:
#     pss: [restricted/runAsNonRoot]
#     nsa: [pod-security/non-root]
#     cis: ["5.2.7"]
#     nist-800-190: ["4.1.2", "4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.run_as_non_root

deny contains finding if {
	some container in input.workload.containers
	not container.securityContext.runAsNonRoot
	input.workload.hostUsers
	path := concat("", [container.path, ".securityContext.runAsNonRoot"])
	finding := {
		"msg": sprintf("container %q may run as root", [container.name]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": true}],
	}
}

# The pod's own setting is refused even if every container overrides it, since an
# ephemeral container would inherit it.
deny contains finding if {
	input.workload.securityContext.runAsNonRoot == false
	input.workload.hostUsers
	path := concat("", [input.workload.securityContext.path, ".runAsNonRoot"])
	finding := {
		"msg": "pod lets its containers run as root",
		"path": path,
		"fix": [{"op": "set", "path": path, "value": true}],
	}
}
