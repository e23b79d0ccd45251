# METADATA
# title: Reserved names of namespaces
# description: |
#   Names with the prefix kube- belong to Kubernetes, others to the platform. Tools, network
#   policies and people trust what carries them: a tenant's namespace kube-backup gets
#   exemptions that were written as kube-*.
# custom:
#   severity: medium
#   match:
#     resources:
#       - group: ""
#         resources: [namespaces]
#     operations: [CREATE]
#   remediation: >-
#     Choose a name without the reserved prefix.
#   controls:
#     nsa: ["network-separation/namespaces"]
#     cis: ["5.7.1"]
#     nist-800-190: ["4.3.1"]
#   parameters:
#     type: object
#     properties:
#       reserved:
#         description: Globs of reserved names; * is any run of characters.
#         type: array
#         items: {type: string}
#         default: ["kube-*", "openshift-*"]
#       existing:
#         description: Reserved names that every cluster has, so that a manifest may speak of them.
#         type: array
#         items: {type: string}
#         default: [kube-system, kube-public, kube-node-lease]
#       allowedUsers:
#         description: Users that may take reserved names.
#         type: array
#         items: {type: string}
#         default: []
#       allowedGroups:
#         description: Groups that may take reserved names.
#         type: array
#         items: {type: string}
#         default: []
package portcullis.namespaces.reserved_names

deny contains finding if {
	some pattern in input.parameters.reserved
	glob.match(pattern, null, input.object.metadata.name)
	not input.object.metadata.name in input.parameters.existing
	not allowed
	finding := {
		"msg": sprintf("the name %q is reserved by %s", [input.object.metadata.name, pattern]),
		"path": "metadata.name",
		"fix": [{"op": "set", "path": "metadata.name", "value": concat("", ["team-", input.object.metadata.name])}],
	}
}

# A generated name keeps its prefix.
deny contains finding if {
	not input.object.metadata.name
	some pattern in input.parameters.reserved
	glob.match(pattern, null, input.object.metadata.generateName)
	not allowed
	finding := {
		"msg": sprintf("names that start with %q are reserved by %s", [input.object.metadata.generateName, pattern]),
		"path": "metadata.generateName",
		"fix": [{"op": "set", "path": "metadata.generateName", "value": concat("", ["team-", input.object.metadata.generateName])}],
	}
}

allowed if input.subject.username in input.parameters.allowedUsers

allowed if {
	some group in input.subject.groups
	group in input.parameters.allowedGroups
}
