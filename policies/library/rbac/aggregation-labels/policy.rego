# METADATA
# title: Rights aggregated into built-in roles
# description: |
#   A ClusterRole with a label such as rbac.authorization.k8s.io/aggregate-to-edit adds its
#   rules to the built-in role of that name: everybody who holds edit in any namespace gets
#   them, without a binding that anybody reviews. A ClusterRole with an aggregation rule takes
#   up the rules of all roles its selector finds; one that demands no label finds them all,
#   cluster-admin included.
#
#   Labels are fine on roles whose rules stay within the allowed API groups, such as those of
#   an operator's own resources.
# related_resources:
#   - https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
# custom:
#   severity: medium
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [clusterroles]
#   remediation: >-
#     Remove the aggregation label and bind the role where it is needed; let aggregation rules
#     demand a label of your own.
#   controls:
#     nsa: ["authorization/rbac"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
#   parameters:
#     type: object
#     properties:
#       labels:
#         description: The labels that aggregate a role into another.
#         type: array
#         items: {type: string}
#         default:
#           - rbac.authorization.k8s.io/aggregate-to-admin
#           - rbac.authorization.k8s.io/aggregate-to-edit
#           - rbac.authorization.k8s.io/aggregate-to-view
#       allowedGroups:
#         description: API groups whose rights may be aggregated. All groups of all rules of the role must be among them.
#         type: array
#         items: {type: string}
#         default: []
#       ownRoles:
#         description: ClusterRoles of Portcullis itself, by their exact names, that may be aggregated as far as their rights are those over its own secrets.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [portcullis-secrets-viewer, portcullis-secrets-editor]
package portcullis.rbac.aggregation_labels

import data.portcullis.lib.rbac

deny contains finding if {
	some label in input.parameters.labels
	input.object.metadata.labels[label] == "true" # the built-in roles select this value only
	not within_allowed_groups
	not shipped
	finding := {
		"msg": sprintf("the label %s adds the rules of this role to a built-in one", [label]),
		"path": sprintf("metadata.labels[%s]", [label]),
		"fix": [{"op": "remove", "path": sprintf("metadata.labels[%s]", [label])}],
	}
}

deny contains finding if {
	some i, selector in input.object.aggregationRule.clusterRoleSelectors
	not demands_a_label(selector)
	finding := {
		"msg": sprintf("aggregation selector %d demands no label: it selects roles that nobody meant for it", [i]),
		"path": sprintf("aggregationRule.clusterRoleSelectors[%d]", [i]),
		"fix": [{
			"op": "set",
			"path": sprintf("aggregationRule.clusterRoleSelectors[%d].matchLabels", [i]),
			"value": {"example.com/replace-with-your-label": "true"},
		}],
	}
}

within_allowed_groups if {
	input.object.rules[0]
	every rule in input.object.rules { within(rule) }
}

within(rule) if {
	rule.apiGroups[0] # paths have none
	every group in rule.apiGroups { group in input.parameters.allowedGroups }
}

demands_a_label(selector) if count(selector.matchLabels) > 0

demands_a_label(selector) if {
	some requirement in selector.matchExpressions
	requirement.operator in {"In", "Exists"}
}

shipped if {
	rbac.shipped(input.parameters.ownRoles, [])
	every rule in input.object.rules {
		every group in rule.apiGroups { group == "secrets.portcullis.dev" }
		rule.apiGroups[0]
	}
}
