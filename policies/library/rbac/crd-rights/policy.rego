# METADATA
# title: Rights over custom resource definitions
# description: |
#   Deleting a CustomResourceDefinition deletes every object of that kind, the policies,
#   certificates and routes of the whole cluster. Changing one lets an attacker loosen the
#   schema that controllers rely on, or point the conversion webhook at a server of their own
#   that sees and rewrites all these objects.
#
#   A rule that grants the right through "*" counts: Kubernetes makes no difference.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: high
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [clusterroles]
#   remediation: >-
#     Leave create, update, patch and delete on customresourcedefinitions to the few who
#     install operators.
#   controls:
#     nsa: ["authorization/rbac"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
package portcullis.rbac.crd_rights

import data.portcullis.lib.rbac

resources := {"*", "customresourcedefinitions"}

verbs := {"*", "create", "update", "patch", "delete", "deletecollection"}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	resource in resources
	some verb in rule.verbs
	verb in verbs
	some group in rule.apiGroups
	group in {"*", "apiextensions.k8s.io"}
	finding := {
		"msg": sprintf("rule %d grants %s on %s", [i, rbac.those(rule.verbs, verbs), rbac.those(rule.resources, resources)]),
		"path": sprintf("rules[%d].verbs", [i]),
		"fix": rbac.without(i, "verbs", rule.verbs, verbs, rbac.read_verbs),
	}
}
