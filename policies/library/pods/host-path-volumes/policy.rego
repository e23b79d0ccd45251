# METADATA
# title: HostPath volumes
# description: |
#   A hostPath volume is a piece of the node's own file system. Writable, it is a way out of the
#   container: a file in /etc/cron.d or a container runtime's socket runs code on the node. Read
#   only, it still hands over the kubelet's credentials and the secrets of every pod on the node.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
#   - https://kubernetes.io/docs/concepts/storage/volumes/#hostpath
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Replace the hostPath volume by a PersistentVolumeClaim, a ConfigMap, a CSI volume or an emptyDir.
#   controls:
#     pss: [baseline/hostPathVolumes]
#     nsa: [pod-security/host-paths]
#     cis: ["5.2.12"]
#     nist-800-190: ["4.4.3", "4.5.5"]
#     owasp-k8s: [K01]
package portcullis.pods.host_path_volumes

deny contains finding if {
	some volume in input.workload.volumes
	volume.type == "hostPath"
	finding := {
		"msg": sprintf("volume %q mounts %q of the node", [volume.name, volume.hostPath]),
		"path": concat("", [volume.path, ".hostPath"]),
		"fix": [{"op": "set", "path": volume.path, "value": {"name": volume.name, "emptyDir": {}}}],
	}
}
