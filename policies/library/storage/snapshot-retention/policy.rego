# METADATA
# title: Snapshot retention
# description: |
#   Snapshots are what helps after an error or an extortion. With the deletion policy Delete, whoever
#   may delete a VolumeSnapshot in a namespace, or the namespace itself, destroys the snapshot in the storage
#   system too. Retain keeps it out of their reach.
# related_resources:
#   - https://kubernetes.io/docs/concepts/storage/volume-snapshot-classes/#deletionpolicy
# custom:
#   severity: medium
#   match:
#     resources:
#       - {group: snapshot.storage.k8s.io, resources: [volumesnapshotclasses, volumesnapshotcontents]}
#       - {group: groupsnapshot.storage.k8s.io, resources: [volumegroupsnapshotclasses, volumegroupsnapshotcontents]}
#   remediation: Set deletionPolicy to Retain.
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: The deletion policies that are allowed.
#         type: array
#         items: {type: string, enum: [Retain, Delete]}
#         default: [Retain]
package portcullis.storage.snapshot_retention

deny contains finding if {
	policy := input.object.deletionPolicy
	not policy in input.parameters.allowed
	finding := objection("deletionPolicy", policy)
}

deny contains finding if {
	policy := input.object.spec.deletionPolicy
	not policy in input.parameters.allowed
	finding := objection("spec.deletionPolicy", policy)
}

objection(path, policy) := {
	"msg": sprintf("the deletion policy is %s", [policy]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": allowed} | allowed := input.parameters.allowed[0]],
}
