# METADATA
# title: Right to approve or sign certificates
# description: |
#   Who may approve CertificateSigningRequests issues client certificates for any user and
#   group, system:masters where the signer allows it, or a node's. They cannot be revoked
#   before they expire. The right is update on certificatesigningrequests/approval, and
#   approve or sign on signers.
#
#   A rule that grants the right through "*" counts: Kubernetes makes no difference.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/#csrs-and-certificate-issuing
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [clusterroles]
#   remediation: >-
#     Leave the approval subresource and the verbs approve and sign on signers to the
#     controller that issues certificates.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.11"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
package portcullis.rbac.csr_approval

import data.portcullis.lib.rbac

approvals := {"*", "*/approval", "certificatesigningrequests/*", "certificatesigningrequests/approval"}

# issuing are all verbs by which either right is granted.
issuing := {"*", "update", "patch", "approve", "sign"}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	resource in approvals
	some verb in rule.verbs
	verb in {"*", "update", "patch"}
	finding := found(i, rule)
}

deny contains finding if {
	some i, rule in input.object.rules
	some resource in rule.resources
	resource in {"*", "signers"}
	some verb in rule.verbs
	verb in {"*", "approve", "sign"}
	finding := found(i, rule)
}

found(i, rule) := {
	"msg": sprintf("rule %d grants %s on %s", [i, rbac.those(rule.verbs, issuing), concat(", ", rule.resources)]),
	"path": sprintf("rules[%d].verbs", [i]),
	"fix": rbac.without(i, "verbs", rule.verbs, issuing, rbac.read_verbs),
} if {
	some group in rule.apiGroups
	group in {"*", "certificates.k8s.io"}
}
