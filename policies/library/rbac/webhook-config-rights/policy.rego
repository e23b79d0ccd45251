# METADATA
# title: Rights over webhook configurations
# description: |
#   Webhook configurations decide what the API server asks before it stores an object, and
#   they are never sent to admission webhooks themselves. Who may write them switches off
#   every admission control, this one included, or adds a mutating webhook that reads each
#   Secret in transit and puts a container into every pod.
#
#   A rule that grants the right through "*" counts: Kubernetes makes no difference.
#
#   Portcullis' own roles may create configurations, whose names cannot be limited, and change
#   those that they name.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [clusterroles]
#   remediation: >-
#     Leave create, update, patch and delete on webhook configurations to the few who install
#     admission controllers.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.12"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
#   parameters:
#     type: object
#     properties:
#       ownRoles:
#         description: ClusterRoles of Portcullis itself, by their exact names, that may have these rights as far as they name what they change.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [portcullis-controller, portcullis-responder]
package portcullis.rbac.webhook_config_rights

import data.portcullis.lib.rbac

resources := {"*", "validatingwebhookconfigurations", "mutatingwebhookconfigurations"}

verbs := {"*", "create", "update", "patch", "delete", "deletecollection"}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	resource in resources
	some verb in rule.verbs
	verb in verbs
	some group in rule.apiGroups
	group in {"*", "admissionregistration.k8s.io"}
	not shipped(rule)
	finding := {
		"msg": sprintf("rule %d grants %s on %s", [i, rbac.those(rule.verbs, verbs), rbac.those(rule.resources, resources)]),
		"path": sprintf("rules[%d].verbs", [i]),
		"fix": rbac.without(i, "verbs", rule.verbs, verbs, rbac.read_verbs),
	}
}

shipped(rule) if {
	ours(rule)
	every verb in rule.verbs { verb in {"create", "get"} }
}

shipped(rule) if {
	ours(rule)
	not rbac.unnamed(rule)
	every name in rule.resourceNames { startswith(name, "portcullis") }
}

ours(rule) if {
	rbac.shipped(input.parameters.ownRoles, [])
	every resource in rule.resources { resource in {"validatingwebhookconfigurations", "mutatingwebhookconfigurations"} }
}
