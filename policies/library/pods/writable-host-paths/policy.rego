# METADATA
# title: Writable host paths
# description: |
#   A container that may write to the node's files can leave a program where the node runs it, or
#   change what the kubelet reads. hostPath volumes are mounted read-only unless the path is listed;
#   paths are compared by whole segments. A read-only mount still shows file systems mounted below it
#   as writable as they are, so allow as few host paths as can be (pods/host-path-allow-list).
# related_resources:
#   - https://kubernetes.io/docs/concepts/storage/volumes/#hostpath
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Set readOnly on the mount, or have the path added to the policy's parameter allowed.
#   controls:
#     nsa: [pod-security/host-paths]
#     nist-800-190: ["4.5.5"]
#     owasp-k8s: [K01]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Directories of the node that may be written, each with all that lies below it.
#         type: array
#         items: {type: string, pattern: "^/"}
#         default: []
package portcullis.pods.writable_host_paths

# A slash behind both sides makes a prefix of characters a prefix of path segments.
prefixes := {concat("", [trim_suffix(entry, "/"), "/"]) | some entry in input.parameters.allowed}

deny contains finding if {
	"hostPath" in [volume.type | some volume in input.workload.volumes]
	some container in input.workload.containers
	some mount in container.mounts
	not mount.readOnly
	host_path := exposed[mount.volume]
	path := concat("", [mount.path, ".readOnly"])
	finding := {
		"msg": sprintf("container %q can write to the node's %s", [container.name, host_path]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": true}],
	}
}

# exposed are the paths of the node by volume. It is one value, made once: looking for
# each mount among all volumes would take the product of both.
exposed := {volume.name: volume.hostPath |
	some volume in input.workload.volumes
	volume.type == "hostPath"
	not strings.any_prefix_match(concat("", [volume.hostPath, "/"]), prefixes)
}
