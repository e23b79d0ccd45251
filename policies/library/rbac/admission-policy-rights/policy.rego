# METADATA
# title: Rights over admission policies
# description: |
#   ValidatingAdmissionPolicies and MutatingAdmissionPolicies run inside the API server and
#   are never sent to webhooks. Who may write them or their bindings removes the guards that
#   protect the webhook configurations, or changes every object on its way into the cluster.
#
#   A rule that grants the right through "*" counts: Kubernetes makes no difference.
# related_resources:
#   - https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [clusterroles]
#   remediation: >-
#     Leave create, update, patch and delete on admission policies and their bindings to the
#     few who run the platform.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.12"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
package portcullis.rbac.admission_policy_rights

import data.portcullis.lib.rbac

resources := {"*", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"}

verbs := {"*", "create", "update", "patch", "delete", "deletecollection"}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	resource in resources
	some verb in rule.verbs
	verb in verbs
	some group in rule.apiGroups
	group in {"*", "admissionregistration.k8s.io"}
	finding := {
		"msg": sprintf("rule %d grants %s on %s", [i, rbac.those(rule.verbs, verbs), rbac.those(rule.resources, resources)]),
		"path": sprintf("rules[%d].verbs", [i]),
		"fix": rbac.without(i, "verbs", rule.verbs, verbs, rbac.read_verbs),
	}
}
