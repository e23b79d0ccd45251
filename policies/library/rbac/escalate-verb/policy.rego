# METADATA
# title: Right to escalate
# description: |
#   Kubernetes lets nobody write a role with rights that the author lacks, unless the author
#   holds the verb escalate on roles. Whoever has it, or steals the token of who has it,
#   writes "*" into a role that is already bound to them and owns the namespace, or the
#   cluster.
#
#   A limit by resourceNames does not help: the named role can be given every right.
#
#   A rule that grants the right through "*" counts: Kubernetes makes no difference.
# related_resources:
#   - https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles]
#   remediation: >-
#     Remove the verb escalate, and "*" in its place, from rules about roles and clusterroles.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.8"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
package portcullis.rbac.escalate_verb

import data.portcullis.lib.rbac

resources := {"*", "roles", "clusterroles"}

verbs := {"*", "escalate"}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	resource in resources
	some verb in rule.verbs
	verb in verbs
	some group in rule.apiGroups
	group in {"*", "rbac.authorization.k8s.io"}
	finding := {
		"msg": sprintf("rule %d grants %s on %s", [i, rbac.those(rule.verbs, verbs), rbac.those(rule.resources, resources)]),
		"path": sprintf("rules[%d].verbs", [i]),
		"fix": rbac.without(i, "verbs", rule.verbs, verbs, rbac.read_verbs),
	}
}
