# METADATA
# title: Wildcard verbs
# description: |
#   "*" grants every verb, also those nobody thinks of: escalate, bind and impersonate,
#   deletecollection, and each verb that a later version adds. A stolen token with such a rule
#   is worth far more than what its owner needed.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: high
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles]
#   remediation: >-
#     List the verbs that are needed instead of "*".
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.3"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
#   parameters:
#     type: object
#     properties:
#       exemptGroups:
#         description: API groups in which the wildcard is fine, such as those of an operator's own resources. All groups of the rule must be among them.
#         type: array
#         items: {type: string}
#         default: []
package portcullis.rbac.wildcard_verbs

import data.portcullis.lib.rbac

deny contains finding if {
	some i, rule in input.object.rules
	some verb in rule.verbs
	verb == "*"
	not exempt(rule)
	finding := {
		"msg": sprintf("rule %d grants every verb on %s", [i, subject(rule)]),
		"path": sprintf("rules[%d].verbs", [i]),
		"fix": rbac.without(i, "verbs", rule.verbs, {"*"}, rbac.read_verbs),
	}
}

subject(rule) := concat(", ", array.concat(object.get(rule, "resources", []), object.get(rule, "nonResourceURLs", [])))

exempt(rule) if {
	rule.apiGroups[0]
	every group in rule.apiGroups { group in input.parameters.exemptGroups }
}
