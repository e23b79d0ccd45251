# METADATA
# title: Capabilities not dropped
# description: |
#   A container that does not drop all capabilities keeps over a dozen from the runtime's default
#   set, such as DAC_OVERRIDE, SETUID and MKNOD: material for an attacker to read foreign files,
#   to become another user and to exploit the kernel from inside. Few services need any of them;
#   binding to a port below 1024 is the exception. Windows pods have no capabilities.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
# custom:
#   severity: medium
#   match:
#     workload: any
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Capabilities that may be added after dropping ALL, spelled exactly as in the manifest.
#         type: array
#         items: {type: string}
#         default: [NET_BIND_SERVICE]
#   remediation: Set securityContext.capabilities.drop to ["ALL"] and add at most NET_BIND_SERVICE.
#   controls:
#     pss: [restricted/capabilities_restricted]
#     cis: ["5.2.8", "5.2.9", "5.2.10"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.capabilities_restricted

deny contains finding if {
	some container in input.workload.containers
	not "ALL" in container.securityContext.capabilities.drop
	input.workload.os != "windows"
	path := concat("", [container.path, ".securityContext.capabilities.drop"])
	finding := {
		"msg": sprintf("container %q does not drop all capabilities", [container.name]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": ["ALL"]}],
	}
}

deny contains finding if {
	some container in input.workload.containers
	some i, capability in container.securityContext.capabilities.add
	not capability in input.parameters.allowed
	input.workload.os != "windows"
	path := sprintf("%s.securityContext.capabilities.add[%d]", [container.path, i])
	finding := {
		"msg": sprintf("container %q adds capability %q", [container.name, capability]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}
