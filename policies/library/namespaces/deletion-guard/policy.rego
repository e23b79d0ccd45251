# METADATA
# title: Deletion of protected namespaces
# description: |
#   Deleting a namespace deletes all that is in it, volumes with the reclaim policy Delete
#   included, and nothing brings it back. For kube-system or the namespace of this platform
#   that is the end of the cluster's controls; a wrong context in somebody's shell is enough.
#
#   Namespaces are protected by name or by a label, which namespaces/protected-labels guards.
# custom:
#   severity: high
#   match:
#     resources:
#       - group: ""
#         resources: [namespaces]
#     operations: [DELETE]
#   remediation: >-
#     Take the namespace off the list of protected ones, or remove the protecting label,
#     before deleting it.
#   controls:
#     nsa: ["network-separation/namespaces"]
#     cis: ["5.7.1"]
#     nist-800-190: ["4.3.1"]
#   doors: [admission]
#   fix: none
#   fixReason: >-
#     A deletion carries no manifest that could be changed.
#   parameters:
#     type: object
#     properties:
#       namespaces:
#         description: Globs of the names of protected namespaces; * is any run of characters.
#         type: array
#         items: {type: string}
#         default: [default, kube-system, kube-public, kube-node-lease, portcullis-system]
#       labels:
#         description: Labels, as KEY=VALUE, that protect a namespace.
#         type: array
#         items: {type: string}
#         default: [policy.portcullis.dev/deletion-protection=true]
#       allowedUsers:
#         description: Users that may delete them all the same.
#         type: array
#         items: {type: string}
#         default: []
#       allowedGroups:
#         description: Groups that may delete them all the same.
#         type: array
#         items: {type: string}
#         default: []
package portcullis.namespaces.deletion_guard

deny contains finding if {
	name := input.oldObject.metadata.name
	some pattern in input.parameters.namespaces
	glob.match(pattern, null, name)
	not allowed
	finding := {"msg": sprintf("the namespace %q is protected from deletion by its name", [name])}
}

deny contains finding if {
	some label, value in input.oldObject.metadata.labels
	concat("=", [label, value]) in input.parameters.labels
	not allowed
	finding := {
		"msg": sprintf("the namespace is protected from deletion by its label %s", [label]),
		"path": sprintf("metadata.labels[%s]", [label]),
	}
}

allowed if input.subject.username in input.parameters.allowedUsers

allowed if {
	some group in input.subject.groups
	group in input.parameters.allowedGroups
}
