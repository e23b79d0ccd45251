# METADATA
# title: Reclaim policy
# description: |
#   With the reclaim policy Delete, removing a claim destroys its data at once: one wrong
#   `kubectl delete`, or a deleted namespace, and only a backup helps. Retain keeps the volume until
#   somebody decides. A StorageClass that says nothing means Delete, a PersistentVolume Retain.
# related_resources:
#   - https://kubernetes.io/docs/concepts/storage/persistent-volumes/#reclaiming
# custom:
#   severity: medium
#   match:
#     resources:
#       - {group: storage.k8s.io, resources: [storageclasses]}
#       - {group: "", resources: [persistentvolumes]}
#   remediation: Set reclaimPolicy (of a StorageClass) or persistentVolumeReclaimPolicy (of a PersistentVolume) to Retain.
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: The reclaim policies that are allowed.
#         type: array
#         items: {type: string, enum: [Retain, Delete, Recycle]}
#         default: [Retain]
package portcullis.storage.reclaim_policy

deny contains finding if {
	input.object.kind == "StorageClass"
	policy := object.get(input.object, "reclaimPolicy", "Delete")
	not policy in input.parameters.allowed
	finding := objection("reclaimPolicy", policy)
}

deny contains finding if {
	input.object.kind == "PersistentVolume"
	policy := object.get(input.object.spec, "persistentVolumeReclaimPolicy", "Retain")
	not policy in input.parameters.allowed
	finding := objection("spec.persistentVolumeReclaimPolicy", policy)
}

objection(path, policy) := {
	"msg": sprintf("the reclaim policy is %s", [policy]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": allowed} | allowed := input.parameters.allowed[0]],
}
