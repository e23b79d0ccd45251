# METADATA
# title: Read-only root file system
# description: |
#   An intruder who can write to the container's own files can replace its program, drop
#   tools and stay until the next restart. With a read-only root file system only the
#   volumes that the manifest names can be written, so what runs is what was scanned.
#   Windows has no such setting: the API server refuses it there.
# related_resources:
#   - https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Set securityContext.readOnlyRootFilesystem to true and mount an emptyDir wherever the program has to write.
#   controls:
#     nsa: [pod-security/immutable-file-systems]
#     nist-800-190: ["4.4.4"]
#     owasp-k8s: [K01]
package portcullis.pods.read_only_root

deny contains finding if {
	some container in input.workload.containers
	not container.securityContext.readOnlyRootFilesystem
	input.workload.os != "windows"
	path := concat("", [container.path, ".securityContext.readOnlyRootFilesystem"])
	finding := {
		"msg": sprintf("container %q can write to its root file system", [container.name]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": true}],
	}
}
