# METADATA
# title: Right to impersonate
# description: |
#   Impersonation acts with another's rights: as a member of system:masters, whom no role and
#   no webhook binding limits, as a node, or as the service account of a controller. The audit
#   log shows the attacker only to those who look for it. Limited by resourceNames to
#   identities that are not protected it is a fair way to let a support tool act as named
#   users.
#
#   The verbs of constrained impersonation (impersonate:user-info and the like) count too. A
#   rule that grants the right through "*" counts: Kubernetes makes no difference. Mind that
#   "*" on serviceaccounts includes the right.
# related_resources:
#   - https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles]
#   remediation: >-
#     Limit rules that allow impersonation by resourceNames to identities without special
#     rights, or remove the verb.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.7", "5.1.8"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
#   parameters:
#     type: object
#     properties:
#       protectedIdentities:
#         description: Users and groups that a rule may not even name for impersonation.
#         type: array
#         items: {type: string}
#         default:
#           - system:masters
#           - kubeadm:cluster-admins
#           - system:nodes
#           - system:admin
#           - kubernetes-admin
#           - system:apiserver
#           - system:kube-controller-manager
#           - system:kube-scheduler
package portcullis.rbac.impersonate

import data.portcullis.lib.rbac

verbs := {
	"*",
	"impersonate",
	"impersonate:user-info",
	"impersonate:serviceaccount",
	"impersonate:arbitrary-node",
	"impersonate:associated-node",
}

# identities are what can be impersonated, by API group: the resources that the API
# server asks its authorizer about (k8s.io/apiserver/pkg/endpoints/filters/impersonation).
identities := {
	"": {"*", "users", "groups", "serviceaccounts"},
	"authentication.k8s.io": {"*", "users", "groups", "serviceaccounts", "nodes", "uids", "userextras"},
	"*": {"*", "users", "groups", "serviceaccounts", "nodes", "uids", "userextras"},
}

deny contains finding if {
	some i, rule in input.object.rules
	some verb in rule.verbs
	verb in verbs
	some group in rule.apiGroups
	some resource in rule.resources
	split(resource, "/")[0] in identities[group] # userextras/scopes is one kind of userextras
	limit := missing_limit(rule)
	finding := {
		"msg": sprintf("rule %d grants %s on %s %s", [i, rbac.those(rule.verbs, verbs), concat(", ", rule.resources), limit]),
		"path": sprintf("rules[%d].verbs", [i]),
		"fix": rbac.without(i, "verbs", rule.verbs, verbs, rbac.read_verbs),
	}
}

missing_limit(rule) := "without resourceNames" if not rule.resourceNames[0]

missing_limit(rule) := sprintf("named %s", [concat(", ", named)]) if {
	named := [name | some name in rule.resourceNames; name in input.parameters.protectedIdentities]
	count(named) > 0
}
