# METADATA
# title: Ephemeral containers
# description: |
#   `kubectl debug` puts a container of one's choice into a running pod, beside its processes, volumes
#   and network. It is a way into every workload for whoever may do it, so only the listed groups may.
#   With an empty list nobody may.
# related_resources:
#   - https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [pods/ephemeralcontainers]}]
#     operations: [UPDATE]
#   doors: [admission]
#   remediation: Ask one of the groups of the policy's parameter groups to debug the pod, or have your group added.
#   fix: none
#   fixReason: it is the user who may not, whatever the container.
#   controls:
#     nist-800-190: ["4.3.2"]
#     owasp-k8s: [K03]
#   parameters:
#     type: object
#     properties:
#       groups:
#         description: Groups whose members may add ephemeral containers.
#         type: array
#         items: {type: string}
#         default: [system:masters, kubeadm:cluster-admins]
package portcullis.pods.ephemeral_containers

deny contains finding if {
	not permitted
	finding := {
		"msg": sprintf("%q is in no group that may add ephemeral containers", [input.subject.username]),
		"path": "spec.ephemeralContainers",
	}
}

permitted if {
	some group in input.subject.groups
	group in input.parameters.groups
}
