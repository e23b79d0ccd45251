# METADATA
# title: Removal of a quarantined pod
# description: |
#   Who is caught deletes the evidence, and a deletion of the pod is the shortest way. Nobody but those who handle it, and what ends it, deletes or evicts a quarantined
#   pod. The namespace controller, the garbage collector of pods and nodes may: a pod that they could not remove would keep
#   its namespace or its node for ever. Controllers that scale down may not; they go on with other pods. The garbage collector may not either: deleting the
#   owner would be a way round. It tries again until the pod is released.
# related_resources:
#   - https://attack.mitre.org/techniques/T1070/
#   - https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
# custom:
#   severity: high
#   match:
#     resources:
#       - group: ""
#         resources: [pods, pods/eviction]
#     operations: [DELETE, CREATE]
#   doors: [admission]
#   remediation: >-
#     Ask those who handle the incident: they release the pod or delete it (portcullis quarantine release).
#   fix: none
#   fixReason: A deletion carries no manifest that could be changed.
#   controls:
#     mitre: [T1070]
#     nist-800-190: ["4.3.1"]
#   parameters:
#     type: object
#     properties:
#       users:
#         description: Users that may, by name.
#         type: array
#         items: {type: string, minLength: 1}
#         default: ["system:kube-controller-manager"]
#       groups:
#         description: Groups that may.
#         type: array
#         items: {type: string, minLength: 1}
#         default: ["portcullis:responders", "system:nodes"]
#       serviceAccounts:
#         description: Service accounts that may, as namespace/name.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [portcullis-system/portcullis-responder, kube-system/pod-garbage-collector, kube-system/namespace-controller, kube-system/node-controller, kube-system/taint-eviction-controller]
package portcullis.runtime.quarantined_deletion

import data.portcullis.lib.callers
import data.portcullis.lib.quarantine

deny contains finding if {
	removes
	quarantined
	not callers.permitted(input.parameters.users, input.parameters.groups, input.parameters.serviceAccounts)
	finding := {"msg": sprintf("the pod is quarantined (%s): %q may not remove it", [quarantine.why, input.subject.username])}
}

removes if input.request.operation == "DELETE"

removes if input.request.subresource == "eviction"

quarantined if count(quarantine.about) > 0

# The label is there before every replica of the webhook knows of the quarantine.
quarantined if quarantine.labelled
