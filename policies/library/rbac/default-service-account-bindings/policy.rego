# METADATA
# title: Bindings to default service accounts
# description: |
#   A pod that names no service account runs as the namespace's default one. Rights bound to
#   it are therefore held by every pod in the namespace that nobody thought about, and by
#   whoever takes one over.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: medium
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [rolebindings, clusterrolebindings]
#   remediation: >-
#     Create a service account for the workload, bind the role to that, and name it in the
#     pod.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.5"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
package portcullis.rbac.default_service_account_bindings

import data.portcullis.lib.rbac

deny contains finding if {
	some i, subject in input.object.subjects
	endswith(subject.name, "default")
	is_default(subject)
	finding := {
		"msg": sprintf("%s is bound to %s", [rbac.described(subject), input.object.roleRef.name]),
		"path": sprintf("subjects[%d]", [i]),
		"fix": [{"op": "remove", "path": sprintf("subjects[%d]", [i])}],
	}
}

is_default(subject) if {
	subject.kind == "ServiceAccount"
	subject.name == "default"
}

# The same account by its user name.
is_default(subject) if {
	subject.kind == "User"
	glob.match("system:serviceaccount:*:default", [":"], subject.name)
}
