# METADATA
# title: Writes by the token of a quarantined pod
# description: |
#   The token of a pod is good until the pod is gone, wherever it is used: a network that is cut off does not stop one that was copied. While the pod is
#   quarantined, nothing that its token asks for is written. The API server asks about it only while there is such a pod, and only about requests with the
#   UIDs of such pods.
#
#   Reads are not sent to webhooks, nor does a token say which pod it is of that is not bound to one. Deleting the pod ends its token.
# related_resources:
#   - https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
#   - https://github.com/kubernetes/enhancements/tree/master/keps/sig-auth/1205-bound-service-account-tokens
# custom:
#   severity: critical
#   match:
#     caller: pod
#     resources: [{group: "*", resources: ["*"]}]
#     operations: [CREATE, UPDATE, DELETE, CONNECT]
#   doors: [admission]
#   remediation: >-
#     Have those who handle the incident release the pod, or delete it: its controller's next pod has a token of its own.
#   fix: none
#   fixReason: The request is wrong because of who asks.
#   controls:
#     mitre: [T1528, T1078.001]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: [K03]
package portcullis.runtime.quarantined_token

import data.portcullis.lib.callers

deny contains finding if {
	some incident in input.incidents
	incident.scope == "pod"
	incident.pod.uid in callers.pods
	finding := {"msg": sprintf("the pod %s/%s, whose token asks, is quarantined: %s (%s)", [incident.pod.namespace, incident.pod.name, incident.reason, incident.name])}
}
