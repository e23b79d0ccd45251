# METADATA
# title: Volume size
# description: |
#   One claim can fill the storage that all tenants share, or a cloud bill. Claims, and the claim
#   templates of StatefulSets, may ask for no more than the maximum. A size that cannot be read is too large.
# related_resources:
#   - https://kubernetes.io/docs/concepts/policy/resource-quotas/#storage-resource-quota
# custom:
#   severity: low
#   match:
#     resources:
#       - {group: "", resources: [persistentvolumeclaims]}
#       - {group: apps, resources: [statefulsets]}
#   remediation: Ask for less in resources.requests.storage, or have the policy's parameter maximum raised.
#   controls:
#     nsa: [network/resource-policies]
#   parameters:
#     type: object
#     properties:
#       maximum:
#         description: The largest size a claim may ask for.
#         type: string
#         pattern: "^[0-9]+(\\.[0-9]+)?([kMGTPE]|[KMGTPE]i)?$"
#         default: 1Ti
package portcullis.storage.volume_size

deny contains finding if {
	input.object.kind == "PersistentVolumeClaim"
	not fits(input.object.spec)
	finding := objection(input.object.spec, "spec")
}

deny contains finding if {
	some i, template in input.object.spec.volumeClaimTemplates
	not fits(template.spec)
	finding := objection(template.spec, sprintf("spec.volumeClaimTemplates[%d].spec", [i]))
}

# What does not follow the grammar of quantities would be an error in units.parse.
quantity := `^[0-9]+(\.[0-9]+)?([mkMGTPE]|[KMGTPE]i|[eE][0-9]{1,2})?$`

fits(claim) if {
	size := sprintf("%v", [claim.resources.requests.storage])
	regex.match(quantity, size)
	units.parse(size) <= units.parse(input.parameters.maximum)
}

objection(claim, path) := {
	"msg": sprintf("the claim asks for %v of storage; at most %s is allowed", [size, input.parameters.maximum]),
	"path": field,
	"fix": [{"op": "set", "path": field, "value": input.parameters.maximum}],
} if {
	size := object.get(claim, ["resources", "requests", "storage"], "any amount")
	field := concat("", [path, ".resources.requests.storage"])
}
