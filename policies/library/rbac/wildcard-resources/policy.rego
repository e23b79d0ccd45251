# METADATA
# title: Wildcard resources
# description: |
#   "*" grants a right on every resource of the API group, Secrets, pods/exec and nodes/proxy
#   included, and on each that is added later. "*/exec" and the like do the same for one
#   subresource of everything; "pods/*" is not understood by Kubernetes' RBAC, but says that
#   its author meant to grant everything. So do the paths "*" and "/*".
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: high
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles]
#   remediation: >-
#     List the resources or paths that are needed instead of "*", replacing the placeholder of
#     the fix.
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
package portcullis.rbac.wildcard_resources

import data.portcullis.lib.rbac

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	contains(resource, "*")
	not exempt(rule)
	wildcards := rbac.wildcards(rule.resources)
	finding := {
		"msg": sprintf("rule %d grants %s on the resources %s", [i, concat(", ", rule.verbs), rbac.those(rule.resources, wildcards)]),
		"path": sprintf("rules[%d].resources", [i]),
		"fix": rbac.without(i, "resources", rule.resources, wildcards, rbac.some_resource),
	}
}

deny contains finding if {
	some i, rule in input.object.rules
	some url in rule.nonResourceURLs
	url in {"*", "/*"}
	finding := {
		"msg": sprintf("rule %d grants %s on the path %s", [i, concat(", ", rule.verbs), url]),
		"path": sprintf("rules[%d].nonResourceURLs", [i]),
		"fix": rbac.without(i, "nonResourceURLs", rule.nonResourceURLs, {"*", "/*"}, ["/version"]),
	}
}

exempt(rule) if {
	rule.apiGroups[0]
	every group in rule.apiGroups { group in input.parameters.exemptGroups }
}
