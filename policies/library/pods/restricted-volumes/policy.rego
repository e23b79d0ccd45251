# METADATA
# title: Volume types
# description: |
#   Volume types beyond the usual ones mount the node's file system, or let the pod's author name a
#   storage server, export and secret that only an administrator should choose: an attacker
#   mounts foreign data, or a file system image made to exploit the kernel. Storage belongs behind a
#   PersistentVolumeClaim. A type this version does not know is refused as well.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
# custom:
#   severity: medium
#   match:
#     workload: any
#   parameters:
#     type: object
#     properties:
#       types:
#         description: Types of volumes that may be used.
#         type: array
#         items: {type: string, minLength: 1}
#         default:
#           - configMap
#           - csi
#           - downwardAPI
#           - emptyDir
#           - ephemeral
#           - image
#           - persistentVolumeClaim
#           - projected
#           - secret
#   remediation: Use a PersistentVolumeClaim, a CSI, ephemeral or image volume, an emptyDir, or a configMap, secret, downwardAPI or projected volume.
#   controls:
#     pss: [restricted/restrictedVolumes]
#     nsa: [pod-security/host-paths]
#     cis: ["5.2.12"]
#     nist-800-190: ["4.4.3", "4.5.5"]
#     owasp-k8s: [K01]
package portcullis.pods.restricted_volumes

deny contains finding if {
	some volume in input.workload.volumes
	not volume.type in input.parameters.types
	finding := {
		"msg": sprintf("volume %q is of type %q, which is not allowed", [volume.name, object.get({"": "unknown"}, volume.type, volume.type)]),
		"path": volume.path,
		"fix": [{"op": "set", "path": volume.path, "value": {"name": volume.name, "emptyDir": {}}}],
	}
}
