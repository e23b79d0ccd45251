# METADATA
# title: Port forwarding
# description: |
#   A port forwarded through the API server reaches a pod from outside past every network policy,
#   and past the authentication that an ingress or mesh would ask for. Only the listed groups may
#   do so. With an empty list nobody may.
# related_resources:
#   - https://kubernetes.io/docs/tasks/access-application-cluster/port-forward-access-application-cluster/
# custom:
#   severity: medium
#   match:
#     resources: [{group: "", resources: [pods/portforward]}]
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
#         description: Groups whose members may forward ports.
#         type: array
#         items: {type: string}
#         default: [system:masters, kubeadm:cluster-admins]
package portcullis.pods.port_forward

deny contains finding if {
	not permitted
	finding := {"msg": sprintf("%q is in no group that may forward ports of pods", [input.subject.username])}
}

permitted if {
	some group in input.subject.groups
	group in input.parameters.groups
}
