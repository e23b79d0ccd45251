# METADATA
# title: Binding pods to nodes
# description: |
#   Whoever may create bindings puts a pod that has no node yet on any node, as with nodeName but later: taints
#   that keep tenants off the control plane, free room, affinity and spread are all passed by. Binding is
#   the scheduler's work. Only the listed users and groups may; with empty lists nobody may.
# related_resources:
#   - https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [bindings, pods/binding]}]
#     operations: [CREATE]
#   doors: [admission]
#   remediation: Leave the node to the scheduler, or have a scheduler of your own added to the policy's parameter allowedUsers.
#   fix: none
#   fixReason: it is the user who may not; there is no manifest.
#   controls:
#     nist-800-190: ["4.3.4"]
#     owasp-k8s: [K03]
#   parameters:
#     type: object
#     properties:
#       allowedUsers:
#         description: Users who may bind pods. A service account is system:serviceaccount:NAMESPACE:NAME.
#         type: array
#         items: {type: string}
#         default: [system:kube-scheduler]
#       allowedGroups:
#         description: Groups whose members may bind pods.
#         type: array
#         items: {type: string}
#         default: [system:masters]
package portcullis.pods.binding

deny contains finding if {
	not permitted
	finding := {"msg": sprintf("%q may not bind pods to nodes", [input.subject.username])}
}

permitted if input.subject.username in input.parameters.allowedUsers

permitted if {
	some group in input.subject.groups
	group in input.parameters.allowedGroups
}
