# METADATA
# title: Exec and attach
# description: |
#   A shell in a container is a change that no review saw and no image holds, made with the workload's
#   own credentials. Only the listed groups may exec into containers or attach to them. With an empty
#   list nobody may.
# related_resources:
#   - https://kubernetes.io/docs/tasks/debug/debug-application/get-shell-running-container/
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [pods/exec, pods/attach]}]
#     operations: [CONNECT]
#   doors: [admission]
#   remediation: Ask one of the groups of the policy's parameter groups, or have your group added.
#   fix: none
#   fixReason: it is the user who may not; there is no manifest.
#   controls:
#     nist-800-190: ["4.3.2"]
#     owasp-k8s: [K03]
#   parameters:
#     type: object
#     properties:
#       groups:
#         description: Groups whose members may exec into containers and attach to them.
#         type: array
#         items: {type: string}
#         default: [system:masters, kubeadm:cluster-admins]
package portcullis.pods.exec

deny contains finding if {
	not permitted
	finding := {"msg": sprintf("%q is in no group that may use pods/%s", [input.subject.username, input.request.subresource])}
}

permitted if {
	some group in input.subject.groups
	group in input.parameters.groups
}
