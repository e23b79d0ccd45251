# METADATA
# title: Bindings to everybody
# description: |
#   system:authenticated is everybody with any credential (on some managed clusters every
#   account of the cloud), and system:serviceaccounts is every pod in the cluster. A role
#   bound to them belongs to the first attacker who takes over any container.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: high
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [rolebindings, clusterrolebindings]
#   remediation: >-
#     Bind the role to the users, groups or service accounts that need it.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.1"]
#     nist-800-190: ["4.3.2"]
#     owasp-k8s: ["K03"]
#   parameters:
#     type: object
#     properties:
#       groups:
#         description: The groups that stand for everybody. Groups such as system:serviceaccounts:NAMESPACE can be added.
#         type: array
#         items: {type: string}
#         default: ["system:authenticated", "system:serviceaccounts"]
#
#       allowedRoles:
#         description: ClusterRoles without anything to protect, which they may hold.
#         type: array
#         items: {type: string}
#         default: ["system:basic-user", "system:discovery", "system:public-info-viewer", "system:service-account-issuer-discovery"]
package portcullis.rbac.authenticated_bindings

import data.portcullis.lib.rbac

deny contains finding if {
	some i, subject in input.object.subjects
	subject.name in input.parameters.groups
	subject.kind == "Group"
	not harmless
	finding := {
		"msg": sprintf("%s is bound to %s", [rbac.described(subject), input.object.roleRef.name]),
		"path": sprintf("subjects[%d]", [i]),
		"fix": [{"op": "remove", "path": sprintf("subjects[%d]", [i])}],
	}
}

# A Role of that name can say anything, the ClusterRole is the cluster's own.
harmless if {
	input.object.roleRef.name in input.parameters.allowedRoles
	input.object.roleRef.kind == "ClusterRole"
}
