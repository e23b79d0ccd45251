# METADATA
# title: Raw block volumes
# description: |
#   A claim with volumeMode Block gives the pod a raw device. It can read what earlier users left where a
#   driver does not wipe, and hand the node's kernel a forged file system when the volume is later mounted.
#   It is allowed only in the listed namespaces, meant for databases and virtual machines. With an
#   empty list nowhere.
# related_resources:
#   - https://kubernetes.io/docs/concepts/storage/persistent-volumes/#raw-block-volume-support
# custom:
#   severity: low
#   match:
#     resources:
#       - {group: "", resources: [persistentvolumeclaims]}
#       - {group: apps, resources: [statefulsets]}
#   remediation: Remove volumeMode, or set it to Filesystem, or have the namespace added to the policy's parameter namespaces.
#   controls:
#     nist-800-190: ["4.5.2"]
#   parameters:
#     type: object
#     properties:
#       namespaces:
#         description: Namespaces whose claims may be raw block devices, as globs.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
package portcullis.storage.block_volumes

deny contains finding if {
	input.object.spec.volumeMode == "Block"
	not allowed
	finding := objection("spec.volumeMode")
}

deny contains finding if {
	some i, template in input.object.spec.volumeClaimTemplates
	template.spec.volumeMode == "Block"
	not allowed
	finding := objection(sprintf("spec.volumeClaimTemplates[%d].spec.volumeMode", [i]))
}

objection(path) := {
	"msg": sprintf("namespace %q may not claim raw block devices", [input.request.namespace]),
	"path": path,
	"fix": [{"op": "remove", "path": path}],
}

allowed if {
	some namespace in input.parameters.namespaces
	glob.match(namespace, null, input.request.namespace)
}
