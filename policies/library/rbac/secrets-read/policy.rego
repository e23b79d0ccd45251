# METADATA
# title: Right to read all Secrets
# description: |
#   Who may get, list or watch Secrets in the whole cluster has every password, key and token
#   in it, those of service accounts with more rights included. list is as good as get: the
#   answer holds the contents. A rule that names its Secrets is fine; an empty string is no
#   name, it lets collections be listed.
#
#   Roles, which reach one namespace only, are left alone unless the parameter says otherwise.
#   A rule that grants the right through "*" counts: Kubernetes makes no difference.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/#listing-secrets
# custom:
#   severity: high
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles]
#   remediation: >-
#     Name the Secrets in resourceNames (replacing the placeholder of the fix), or grant the
#     right in single namespaces with a Role.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.2"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
#   parameters:
#     type: object
#     properties:
#       roles:
#         description: Whether Roles, which reach the Secrets of one namespace, count as well.
#         type: boolean
#         default: false
package portcullis.rbac.secrets_read

import data.portcullis.lib.rbac

verbs := {"*", "get", "list", "watch"}

resources := {"*", "secrets"}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	resource in resources
	some verb in rule.verbs
	verb in verbs
	some group in rule.apiGroups
	group in {"*", ""}
	rbac.unnamed(rule)
	wide_enough
	finding := {
		"msg": sprintf("rule %d grants %s on all %s", [i, rbac.those(rule.verbs, verbs), rbac.those(rule.resources, resources)]),
		"path": sprintf("rules[%d].resources", [i]),
		"fix": fix(i, rule),
	}
}

wide_enough if input.request.resource.resource == "clusterroles"

wide_enough if input.parameters.roles

# A rule about Secrets alone gets names; one about more loses the Secrets.
fix(i, rule) := [{"op": "set", "path": sprintf("rules[%d].resourceNames", [i]), "value": rbac.some_name}] if {
	every resource in rule.resources { resource == "secrets" }
}

fix(i, rule) := rbac.without(i, "resources", rule.resources, resources, rbac.some_resource) if {
	some resource in rule.resources
	resource != "secrets"
}
