# METADATA
# title: Shared volumes
# description: |
#   A volume that many nodes mount for writing is a channel between pods that no network policy sees, and
#   one broken pod can change what all the others read. ReadWriteMany is allowed only in the listed
#   namespaces. The claim templates of a StatefulSet are claims too. With an empty list it is
#   allowed nowhere.
# related_resources:
#   - https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes
# custom:
#   severity: low
#   match:
#     resources:
#       - {group: "", resources: [persistentvolumeclaims]}
#       - {group: apps, resources: [statefulsets]}
#   remediation: Use the access mode ReadWriteOnce or ReadWriteOncePod, or have the namespace added to the policy's parameter namespaces.
#   controls:
#     nist-800-190: ["4.3.4"]
#   parameters:
#     type: object
#     properties:
#       restricted:
#         description: The access modes that are not for everybody.
#         type: array
#         items: {type: string, enum: [ReadWriteOnce, ReadOnlyMany, ReadWriteMany, ReadWriteOncePod]}
#         default: [ReadWriteMany]
#       namespaces:
#         description: Namespaces whose claims may have those access modes, as globs.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
package portcullis.storage.access_modes

deny contains finding if {
	finding := objection(input.object.spec, "spec")
}

deny contains finding if {
	some i, template in input.object.spec.volumeClaimTemplates
	finding := objection(template.spec, sprintf("spec.volumeClaimTemplates[%d].spec", [i]))
}

objection(claim, path) := finding if {
	modes := [mode | some mode in claim.accessModes; mode in input.parameters.restricted]
	modes != []
	not allowed
	finding := {
		"msg": sprintf("namespace %q may not use access mode %s", [input.request.namespace, concat(", ", modes)]),
		"path": concat("", [path, ".accessModes"]),
		"fix": [{"op": "set", "path": concat("", [path, ".accessModes"]), "value": ["ReadWriteOncePod"]}],
	}
}

allowed if {
	some namespace in input.parameters.namespaces
	glob.match(namespace, null, input.request.namespace)
}
