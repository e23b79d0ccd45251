# METADATA
# title: Rights on the proxy of nodes
# description: |
#   Any right on nodes/proxy, get included, talks to the kubelet directly: it runs commands in
#   every pod of the node, and neither admission control nor the audit log of the API server
#   sees them. Monitoring that asks for it usually needs no more than nodes/metrics or
#   nodes/stats.
#
#   A rule that grants the right through "*" counts: Kubernetes makes no difference. "*/proxy"
#   counts too.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/#access-to-proxy-subresource-of-nodes
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [clusterroles]
#   remediation: >-
#     Remove nodes/proxy from the rule; for metrics ask for nodes/metrics, nodes/stats or
#     nodes/log.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.10"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
package portcullis.rbac.nodes_proxy

import data.portcullis.lib.rbac

resources := {"*", "*/proxy", "nodes/*", "nodes/proxy"}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	resource in resources
	some group in rule.apiGroups
	group in {"*", ""}
	finding := {
		"msg": sprintf("rule %d grants %s on %s", [i, concat(", ", rule.verbs), rbac.those(rule.resources, resources)]),
		"path": sprintf("rules[%d].resources", [i]),
		"fix": rbac.without(i, "resources", rule.resources, resources, ["nodes/metrics"]),
	}
}
