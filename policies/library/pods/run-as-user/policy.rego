# METADATA
# title: Containers that run as user 0
# description: |
#   A process with user 0 in a container is root on the node as soon as the container is left:
#   through a mounted path, a kernel exploit or a runtime's mistake (CVE-2019-5736), and inside it
#   can change the program, its files and the packages. In a user namespace (hostUsers: false) that
#   root is nobody outside, so any user may be set there.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
#   - https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Set runAsUser to the number of the user the image is made for, other than 0, or remove it where the image names one.
#   controls:
#     pss: [restricted/runAsUser]
#     nsa: [pod-security/non-root]
#     cis: ["5.2.7"]
#     nist-800-190: ["4.1.2", "4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.run_as_user

deny contains finding if {
	some container in input.workload.containers
	container.securityContext.runAsUser == 0
	input.workload.hostUsers
	finding := root(sprintf("container %q", [container.name]), concat("", [container.path, ".securityContext"]))
}

# The pod's own setting is refused even if every container overrides it, since an
# ephemeral container would inherit it.
deny contains finding if {
	input.workload.securityContext.runAsUser == 0
	input.workload.hostUsers
	finding := root("pod", input.workload.securityContext.path)
}

# 65532 is the user "nonroot" of distroless images, a placeholder for the image's own.
root(who, context) := {
	"msg": sprintf("%s runs as user 0", [who]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": 65532}],
} if {
	path := concat("", [context, ".runAsUser"])
}
