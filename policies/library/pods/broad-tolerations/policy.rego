# METADATA
# title: Broad tolerations
# description: |
#   Taints keep pods off nodes that are not for them: the control plane, with the cluster's keys on its
#   disks, and nodes reserved for others. A toleration without a key tolerates every taint; the listed keys
#   are those of nodes that no tenant should run on.
# related_resources:
#   - https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Tolerate only the key of the nodes that are meant for the workload.
#   controls:
#     nist-800-190: ["4.3.4"]
#     owasp-k8s: [K01]
#   parameters:
#     type: object
#     properties:
#       keys:
#         description: Taints that may not be tolerated.
#         type: array
#         items: {type: string}
#         default: [node-role.kubernetes.io/control-plane, node-role.kubernetes.io/master]
package portcullis.pods.broad_tolerations

deny contains finding if {
	some toleration in input.workload.tolerations
	toleration.key == ""
	finding := objection("the pod tolerates every taint", toleration)
}

deny contains finding if {
	some toleration in input.workload.tolerations
	toleration.key in input.parameters.keys
	finding := objection(sprintf("the pod tolerates taint %q", [toleration.key]), toleration)
}

objection(msg, toleration) := {
	"msg": msg,
	"path": toleration.path,
	"fix": [{"op": "remove", "path": toleration.path}],
}
