# METADATA
# title: Privilege escalation
# description: |
#   Unless allowPrivilegeEscalation is false, a process in the container can gain more rights than
#   its parent had, through a setuid or setgid file or file capabilities: an attacker who runs code
#   as an ordinary user becomes root in the container with any sudo or su in the image, and from
#   there attacks the node. Windows has no such setting.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Set securityContext.allowPrivilegeEscalation of every container to false.
#   controls:
#     pss: [restricted/allowPrivilegeEscalation]
#     nsa: [pod-security/privilege-escalation]
#     cis: ["5.2.6"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.privilege_escalation

deny contains finding if {
	some container in input.workload.containers
	not container.securityContext.allowPrivilegeEscalation == false
	not container.securityContext.privileged
	not "CAP_SYS_ADMIN" in container.securityContext.capabilities.add
	input.workload.os != "windows"
	finding := escalates(container.path, sprintf("container %q does not forbid privilege escalation", [container.name]), [])
}

# The API server refuses false beside privileged, so that has to go too.
deny contains finding if {
	some container in input.workload.containers
	container.securityContext.privileged
	not container.securityContext.allowPrivilegeEscalation == false
	input.workload.os != "windows"
	finding := escalates(
		container.path,
		sprintf("container %q is privileged, which includes privilege escalation", [container.name]),
		[{"op": "remove", "path": concat("", [container.path, ".securityContext.privileged"])}],
	)
}

# The API server refuses false beside CAP_SYS_ADMIN, in this spelling only.
deny contains finding if {
	some container in input.workload.containers
	some i, capability in container.securityContext.capabilities.add
	capability == "CAP_SYS_ADMIN"
	not container.securityContext.allowPrivilegeEscalation == false
	input.workload.os != "windows"
	finding := escalates(
		container.path,
		sprintf("container %q adds CAP_SYS_ADMIN, which includes privilege escalation", [container.name]),
		[{"op": "remove", "path": sprintf("%s.securityContext.capabilities.add[%d]", [container.path, i])}],
	)
}

escalates(container_path, msg, contradiction) := {
	"msg": msg,
	"path": path,
	"fix": array.concat([{"op": "set", "path": path, "value": false}], contradiction),
} if {
	path := concat("", [container_path, ".securityContext.allowPrivilegeEscalation"])
}
