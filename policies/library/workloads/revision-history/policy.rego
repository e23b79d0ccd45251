# METADATA
# title: Revision history
# description: |
#   Without old revisions `kubectl rollout undo` has nothing to go back to; with too many of them etcd is full
#   of ReplicaSets that nobody will ever use. A workload that says nothing keeps ten.
# related_resources:
#   - https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#clean-up-policy
# custom:
#   severity: low
#   match:
#     resources: [{group: apps, resources: [deployments, statefulsets, daemonsets]}]
#   remediation: Set revisionHistoryLimit within the policy's parameters, or remove it.
#   parameters:
#     type: object
#     properties:
#       minimum:
#         description: How many old revisions are kept at least.
#         type: integer
#         minimum: 0
#         maximum: 10
#         default: 1
#       maximum:
#         description: How many old revisions are kept at most.
#         type: integer
#         minimum: 10
#         default: 10
package portcullis.workloads.revision_history

deny contains finding if {
	input.object.spec.revisionHistoryLimit < input.parameters.minimum
	finding := objection(input.parameters.minimum)
}

deny contains finding if {
	input.object.spec.revisionHistoryLimit > input.parameters.maximum
	finding := objection(input.parameters.maximum)
}

objection(limit) := {
	"msg": sprintf("%d old revisions are kept, not %d to %d", [input.object.spec.revisionHistoryLimit, input.parameters.minimum, input.parameters.maximum]),
	"path": "spec.revisionHistoryLimit",
	"fix": [{"op": "set", "path": "spec.revisionHistoryLimit", "value": limit}],
}
