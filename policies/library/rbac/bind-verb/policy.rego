# METADATA
# title: Right to bind any role
# description: |
#   Kubernetes lets nobody bind a role with more rights than the author has, unless the author
#   holds the verb bind on that role. An unlimited bind is therefore every right there is:
#   bind yourself to cluster-admin.
#
#   Limited by resourceNames to ordinary roles, bind is the way to delegate handing out just
#   these; naming a protected role is refused all the same. A rule that grants the right
#   through "*" counts: Kubernetes makes no difference.
# related_resources:
#   - https://kubernetes.io/docs/reference/access-authn-authz/rbac/#restrictions-on-role-binding-creation-or-update
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles]
#   remediation: >-
#     Limit rules with the verb bind by resourceNames to the roles that may be handed out,
#     none of them protected, or remove the verb.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.8"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
#   parameters:
#     type: object
#     properties:
#       protectedRoles:
#         description: Roles that a rule with the verb bind may not even name.
#         type: array
#         items: {type: string}
#         default: [cluster-admin, admin, "system:node", "system:kube-controller-manager"]
package portcullis.rbac.bind_verb

import data.portcullis.lib.rbac

resources := {"*", "roles", "clusterroles"}

verbs := {"*", "bind"}

deny contains finding if {
	some i, rule in input.object.rules
	some verb in rule.verbs
	verb in verbs
	some resource in rule.resources
	resource in resources
	some group in rule.apiGroups
	group in {"*", "rbac.authorization.k8s.io"}
	limit := missing_limit(rule)
	finding := {
		"msg": sprintf("rule %d grants %s on %s %s", [i, rbac.those(rule.verbs, verbs), rbac.those(rule.resources, resources), limit]),
		"path": sprintf("rules[%d].verbs", [i]),
		"fix": rbac.without(i, "verbs", rule.verbs, verbs, rbac.read_verbs),
	}
}

missing_limit(rule) := "without resourceNames" if not rule.resourceNames[0]

missing_limit(rule) := sprintf("named %s", [concat(", ", named)]) if {
	named := [name | some name in rule.resourceNames; name in input.parameters.protectedRoles]
	count(named) > 0
}
