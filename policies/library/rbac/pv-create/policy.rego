# METADATA
# title: Right to create persistent volumes
# description: |
#   A PersistentVolume may name a path on a node. Who can create one, and claim it from a pod,
#   reads and writes the node's files, the kubelet's credentials among them, although no
#   policy on pods ever sees a hostPath volume. People need claims only: the storage class's
#   provisioner creates the volumes.
#
#   A rule that grants the right through "*" counts: Kubernetes makes no difference.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/
# custom:
#   severity: high
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [clusterroles]
#   remediation: >-
#     Remove the verb create on persistentvolumes; ask for storage with
#     persistentvolumeclaims.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.9"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
package portcullis.rbac.pv_create

import data.portcullis.lib.rbac

resources := {"*", "persistentvolumes"}

verbs := {"*", "create"}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	resource in resources
	some verb in rule.verbs
	verb in verbs
	some group in rule.apiGroups
	group in {"*", ""}
	finding := {
		"msg": sprintf("rule %d grants %s on %s", [i, rbac.those(rule.verbs, verbs), rbac.those(rule.resources, resources)]),
		"path": sprintf("rules[%d].verbs", [i]),
		"fix": rbac.without(i, "verbs", rule.verbs, verbs, rbac.read_verbs),
	}
}
