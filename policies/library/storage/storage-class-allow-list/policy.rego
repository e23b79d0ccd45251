# METADATA
# title: Allowed storage classes
# description: |
#   The storage class decides where data lies: on which provider, encrypted or not, kept or destroyed.
#   Claims may name only the listed classes, in storageClassName or in the old annotation, which still wins
#   over it. A claim that names none takes whatever class is the default that day. An empty name, which
#   binds volumes made by hand, has to be listed like any other. With an empty list none is allowed.
# related_resources:
#   - https://kubernetes.io/docs/concepts/storage/persistent-volumes/#class-1
# custom:
#   severity: medium
#   match:
#     resources:
#       - {group: "", resources: [persistentvolumeclaims]}
#       - {group: apps, resources: [statefulsets]}
#   remediation: Set storageClassName to one of the classes of the policy's parameter allowed, and remove the annotation volume.beta.kubernetes.io/storage-class.
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Storage classes that claims may name.
#         type: array
#         items: {type: string}
#         default: []
#       allowDefault:
#         description: Whether a claim may leave the class open.
#         type: boolean
#         default: false
package portcullis.storage.storage_class_allow_list

annotation := "volume.beta.kubernetes.io/storage-class"

claims contains {"claim": input.object, "path": ""} if input.object.kind == "PersistentVolumeClaim"

claims contains {"claim": template, "path": sprintf("spec.volumeClaimTemplates[%d].", [i])} if {
	some i, template in input.object.spec.volumeClaimTemplates
}

deny contains finding if {
	some {"claim": claim, "path": path} in claims
	class := claim.spec.storageClassName
	not class in input.parameters.allowed
	finding := {
		"msg": sprintf("storage class %q is not allowed", [class]),
		"path": concat("", [path, "spec.storageClassName"]),
		"fix": name_allowed(path),
	}
}

deny contains finding if {
	some {"claim": claim, "path": path} in claims
	class := claim.metadata.annotations[annotation]
	not class in input.parameters.allowed
	field := sprintf("%smetadata.annotations[%s]", [path, annotation])
	finding := {
		"msg": sprintf("storage class %q is not allowed", [class]),
		"path": field,
		"fix": array.concat([{"op": "remove", "path": field}], name_allowed(path)),
	}
}

deny contains finding if {
	some {"claim": claim, "path": path} in claims
	not claim.spec.storageClassName
	not claim.metadata.annotations[annotation]
	not input.parameters.allowDefault
	finding := {
		"msg": "the claim does not say which storage class it wants",
		"path": concat("", [path, "spec.storageClassName"]),
		"fix": name_allowed(path),
	}
}

name_allowed(path) := [{"op": "set", "path": concat("", [path, "spec.storageClassName"]), "value": class} |
	class := input.parameters.allowed[0]
]
