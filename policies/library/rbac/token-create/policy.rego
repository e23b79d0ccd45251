# METADATA
# title: Right to create service account tokens
# description: |
#   create on serviceaccounts/token makes tokens of any service account within reach: the
#   attacker becomes the controller, operator or deployer with the most rights, with a token
#   that outlives the stolen session. A rule that names the service accounts is fine.
#
#   A rule that grants the right through "*" counts: Kubernetes makes no difference. "*/token"
#   counts too.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/#token-request
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles]
#   remediation: >-
#     Limit the rule by resourceNames to the service accounts it is for (replacing the
#     placeholder of the fix), or remove it.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.13"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
package portcullis.rbac.token_create

import data.portcullis.lib.rbac

verbs := {"*", "create"}

resources := {"*", "*/token", "serviceaccounts/*", "serviceaccounts/token"}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	resource in resources
	some verb in rule.verbs
	verb in verbs
	some group in rule.apiGroups
	group in {"*", ""}
	rbac.unnamed(rule)
	finding := {
		"msg": sprintf("rule %d grants %s on %s without resourceNames", [i, rbac.those(rule.verbs, verbs), rbac.those(rule.resources, resources)]),
		"path": sprintf("rules[%d].resources", [i]),
		"fix": fix(i, rule),
	}
}

# A rule about tokens alone gets names; one about more loses the tokens.
fix(i, rule) := [{"op": "set", "path": sprintf("rules[%d].resourceNames", [i]), "value": rbac.some_name}] if {
	every resource in rule.resources { resource == "serviceaccounts/token" }
}

fix(i, rule) := rbac.without(i, "resources", rule.resources, resources, rbac.some_resource) if {
	some resource in rule.resources
	resource != "serviceaccounts/token"
}
