# METADATA
# title: Wildcard API groups
# description: |
#   apiGroups: ["*"] grants the right in every API group: a rule meant for deployments also
#   covers the resources of that name in each operator that is installed later, and with a
#   wildcard in resources it covers the whole API.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: high
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles]
#   remediation: >-
#     List the API groups that are needed instead of "*", replacing the placeholder of the
#     fix.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.3"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
package portcullis.rbac.wildcard_groups

import data.portcullis.lib.rbac

deny contains finding if {
	some i, rule in input.object.rules
	some group in rule.apiGroups
	group == "*"
	finding := {
		"msg": sprintf("rule %d grants %s on %s in every API group", [i, concat(", ", rule.verbs), concat(", ", rule.resources)]),
		"path": sprintf("rules[%d].apiGroups", [i]),
		"fix": rbac.without(i, "apiGroups", rule.apiGroups, {"*"}, rbac.some_api_group),
	}
}
