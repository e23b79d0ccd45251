# METADATA
# title: Rights over Portcullis' own objects
# description: |
#   Portcullis keeps scans, incidents, quarantines and the state of its policies in objects of
#   its own API groups. Who may write them closes an incident, releases a quarantined pod or
#   makes an old scan look fresh.
#
#   A rule with "*" in apiGroups counts where its resources are "*" as well; such a rule with
#   named resources is the business of rbac/wildcard-groups.
#
#   The roles that Portcullis' own programs and people have by its manifests are known by their
#   names. Guard them where others may write roles: the chart's policies of the API server do.
# custom:
#   severity: high
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles]
#   remediation: >-
#     Leave writing the objects of Portcullis to its own service accounts and to those who run
#     it.
#   controls:
#     nsa: ["authorization/rbac"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
#   parameters:
#     type: object
#     properties:
#       apiGroups:
#         description: The API groups that are guarded.
#         type: array
#         items: {type: string}
#         default: [policy.portcullis.dev, scan.portcullis.dev, runtime.portcullis.dev, secrets.portcullis.dev]
#       ownRoles:
#         description: Roles of Portcullis itself, by their exact names, that may have such rights; a Role only in the parameter namespaces.
#         type: array
#         items: {type: string, minLength: 1}
#         default:
#           - portcullis-auditor-rescan
#           - portcullis-break-glass
#           - portcullis-bundle-reader
#           - portcullis-controller
#           - portcullis-exception-editor
#           - portcullis-incident-responder
#           - portcullis-responder
#           - portcullis-scan-requester
#           - portcullis-scanner
#           - portcullis-secrets
#           - portcullis-secrets-editor
#       namespaces:
#         description: The namespaces that Portcullis runs in.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [portcullis-system]
package portcullis.rbac.portcullis_rights

import data.portcullis.lib.rbac

deny contains finding if {
	some i, rule in input.object.rules
	some verb in rule.verbs
	verb in rbac.write_verbs
	ours(rule)
	not rbac.shipped(input.parameters.ownRoles, input.parameters.namespaces)
	finding := {
		"msg": sprintf("rule %d grants %s on %s in %s", [i, rbac.those(rule.verbs, rbac.write_verbs), concat(", ", rule.resources), concat(", ", rule.apiGroups)]),
		"path": sprintf("rules[%d].verbs", [i]),
		"fix": rbac.without(i, "verbs", rule.verbs, rbac.write_verbs, rbac.read_verbs),
	}
}

ours(rule) if {
	some group in rule.apiGroups
	group in input.parameters.apiGroups
}

ours(rule) if {
	"*" in rule.apiGroups
	"*" in rule.resources
}
