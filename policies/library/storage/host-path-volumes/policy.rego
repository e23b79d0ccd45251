# METADATA
# title: Persistent volumes on a node's disk
# description: |
#   A PersistentVolume of type hostPath or local gives whoever claims it a directory of the node, past
#   every check of hostPath in pods. A hostPath one also loses the data when the pod moves to another node.
#   Only directories listed and what lies below them are allowed, compared by whole path segments; a
#   path with .. in it never is. With an empty list none is.
# related_resources:
#   - https://kubernetes.io/docs/concepts/storage/persistent-volumes/
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [persistentvolumes]}]
#   remediation: Use a CSI driver in place of the host's directory, or have the directory added to the policy's parameter allowed.
#   controls:
#     nsa: [pod-security/host-paths]
#     cis: ["5.2.12"]
#     nist-800-190: ["4.5.5"]
#     owasp-k8s: [K01]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Directories of the nodes that hold volumes, each with all that lies below it (/mnt/disks).
#         type: array
#         items: {type: string, pattern: "^/"}
#         default: []
package portcullis.storage.host_path_volumes

# A slash behind both sides makes a prefix of characters a prefix of path segments.
prefixes := {concat("", [trim_suffix(entry, "/"), "/"]) | some entry in input.parameters.allowed}

deny contains finding if {
	some source in ["hostPath", "local"]
	path := input.object.spec[source].path
	not allowed(path)
	finding := {
		"msg": sprintf("the volume is the node's directory %q", [path]),
		"path": concat("", ["spec.", source, ".path"]),
		"fix": [
			{"op": "remove", "path": concat("", ["spec.", source])},
			{"op": "set", "path": "spec.csi", "value": {"driver": "csi.example.com", "volumeHandle": "replace-with-the-volume"}},
		],
	}
}

allowed(path) if {
	not contains(path, "..")
	strings.any_prefix_match(concat("", [path, "/"]), prefixes)
}
