# METADATA
# title: Bindings to anonymous users
# description: |
#   system:anonymous and system:unauthenticated are whoever reaches the API server's port
#   without any credential. A role bound to them is open to the network, often to the
#   internet: this is how clusters become crypto miners within hours.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [rolebindings, clusterrolebindings]
#   remediation: >-
#     Remove system:anonymous and system:unauthenticated from the subjects; let clients
#     authenticate.
#   controls:
#     nsa: ["authentication/anonymous"]
#     cis: ["5.1.1"]
#     nist-800-190: ["4.3.2"]
#     owasp-k8s: ["K06"]
#   parameters:
#     type: object
#     properties:
#       allowedRoles:
#         description: ClusterRoles without anything to protect, which they may hold.
#         type: array
#         items: {type: string}
#         default: ["system:public-info-viewer"]
package portcullis.rbac.anonymous_bindings

import data.portcullis.lib.rbac

anonymous := {["User", "system:anonymous"], ["Group", "system:unauthenticated"]}

deny contains finding if {
	some i, subject in input.object.subjects
	[subject.kind, subject.name] in anonymous
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
