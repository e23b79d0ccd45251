# METADATA
# title: Owner label
# description: |
#   Whoever looks at a workload that misbehaves needs to know whom to ask. A label says so.
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: Set the label on the pod, or on the pods' template, to the name of the team.
#   parameters:
#     type: object
#     properties:
#       label:
#         type: string
#         default: owner
#         description: The label that names the owner.
#   fix: none
#   fixReason: Only its author knows whose it is.
package portcullis.PACKAGE.owner_label

deny contains finding if {
	not has_owner
	finding := {
		"msg": sprintf("label %q does not name an owner", [input.parameters.label]),
		"path": "metadata.labels",
	}
}

has_owner if {
	some label in input.workload.labels
	label.key == input.parameters.label
	label.value != ""
}
