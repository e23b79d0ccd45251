# METADATA
# title: Bindings to cluster-admin
# description: |
#   cluster-admin is every right there is; a stolen kubeconfig or token of one who holds it is
#   the end of the cluster. Bound by a RoleBinding it is every right in a namespace, that of
#   deleting it and of changing its roles included. Few need it, and fewer all the time.
#
#   The subjects that may hold the listed roles are parameters; service accounts are listed by
#   their user name, system:serviceaccount:NAMESPACE:NAME.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: high
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [rolebindings, clusterrolebindings]
#   remediation: >-
#     Bind a role with only the rights that are needed, or have the subject added to
#     allowedUsers or allowedGroups.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.1", "5.1.7"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
#   parameters:
#     type: object
#     properties:
#       roles:
#         description: The ClusterRoles that only the allowed subjects may hold.
#         type: array
#         items: {type: string}
#         default: [cluster-admin]
#       allowedUsers:
#         description: Users that may hold them; service accounts as system:serviceaccount:NAMESPACE:NAME.
#         type: array
#         items: {type: string}
#         default: []
#       allowedGroups:
#         description: Groups that may hold them.
#         type: array
#         items: {type: string}
#         default: ["system:masters", "kubeadm:cluster-admins"]
package portcullis.rbac.cluster_admin_bindings

import data.portcullis.lib.rbac

deny contains finding if {
	input.object.roleRef.name in input.parameters.roles
	input.object.roleRef.kind == "ClusterRole"
	some i, subject in input.object.subjects
	not allowed(subject)
	finding := {
		"msg": sprintf("%s is bound to %s", [rbac.described(subject), input.object.roleRef.name]),
		"path": sprintf("subjects[%d]", [i]),
		"fix": [{"op": "remove", "path": sprintf("subjects[%d]", [i])}],
	}
}

allowed(subject) if {
	subject.kind == "Group"
	subject.name in input.parameters.allowedGroups
}

allowed(subject) if rbac.username(subject, object.get(input.object.metadata, "namespace", "")) in input.parameters.allowedUsers
