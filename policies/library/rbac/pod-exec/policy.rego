# METADATA
# title: Rights to enter pods
# description: |
#   Who may exec into pods, attach to them, forward their ports or add ephemeral containers
#   acts inside every workload the rule reaches, with its network identity, its mounted
#   Secrets and its service account's token: rights over pods are rights over all of that.
#
#   exec, attach and port-forward are granted by create, and by get on API servers before 1.35
#   (WebSockets). A rule that grants the right through "*" counts: Kubernetes makes no
#   difference. "*/exec" counts, and so does "pods/*", which Kubernetes' RBAC ignores but
#   which says what its author meant.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: high
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles]
#   remediation: >-
#     Remove the subresources of pods from the rule; give people a debugging role that is
#     bound for a limited time.
#   controls:
#     nsa: ["authorization/rbac"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
#   parameters:
#     type: object
#     properties:
#       subresources:
#         description: The subresources of pods that count as entering. Add proxy to include requests through the API server's proxy.
#         type: array
#         items: {type: string, enum: [exec, attach, portforward, proxy, ephemeralcontainers]}
#         default: [exec, attach, portforward, ephemeralcontainers]
package portcullis.rbac.pod_exec

import data.portcullis.lib.rbac

# entering says by which verbs a subresource of pods lets somebody in.
entering := {
	"exec": {"*", "create", "get"},
	"attach": {"*", "create", "get"},
	"portforward": {"*", "create", "get"},
	"proxy": {"*", "create", "get", "update", "patch", "delete"},
	"ephemeralcontainers": {"*", "update", "patch"},
}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	some subresource in input.parameters.subresources
	resource in forms[subresource]
	some verb in rule.verbs
	verb in entering[subresource]
	some group in rule.apiGroups
	group in {"*", ""}
	finding := {
		"msg": sprintf("rule %d grants %s on %s", [i, concat(", ", rule.verbs), rbac.those(rule.resources, entrances)]),
		"path": sprintf("rules[%d].resources", [i]),
		"fix": rbac.without(i, "resources", rule.resources, entrances, rbac.some_resource),
	}
}

entrances := union({resources | some resources in forms})

# forms are the ways to write a subresource of pods in a rule.
forms[subresource] := {"*", "pods/*", concat("/", ["*", subresource]), concat("/", ["pods", subresource])} if {
	some subresource in input.parameters.subresources
}
