# METADATA
# title: Allowed host paths
# description: |
#   A hostPath volume shows the node's own files to a pod: the container runtime's socket, the kubelet's
#   credentials, other pods' volumes. For the few agents that need one, only the listed directories and
#   what lies below them are allowed, compared by whole path segments: /var/log allows /var/log/pods, never
#   /var/logs. With an empty list no hostPath is allowed.
# related_resources:
#   - https://kubernetes.io/docs/concepts/storage/volumes/#hostpath
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Use an emptyDir, a PersistentVolumeClaim or a CSI driver instead, or have the path added to the policy's parameter allowed.
#   controls:
#     nsa: [pod-security/host-paths]
#     cis: ["5.2.12"]
#     nist-800-190: ["4.5.5"]
#     owasp-k8s: [K01]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Directories of the node, each with all that lies below it.
#         type: array
#         items: {type: string, pattern: "^/"}
#         default: []
package portcullis.pods.host_path_allow_list

# A slash behind both sides makes a prefix of characters a prefix of path segments.
prefixes := {concat("", [trim_suffix(entry, "/"), "/"]) | some entry in input.parameters.allowed}

deny contains finding if {
	some volume in input.workload.volumes
	volume.type == "hostPath"
	not strings.any_prefix_match(concat("", [volume.hostPath, "/"]), prefixes)
	finding := {
		"msg": sprintf("volume %q shows the node's %s, which is no allowed host path", [volume.name, volume.hostPath]),
		"path": concat("", [volume.path, ".hostPath.path"]),
		"fix": [{"op": "set", "path": volume.path, "value": {"name": volume.name, "emptyDir": {}}}],
	}
}
