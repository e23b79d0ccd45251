# METADATA
# title: Bounds of autoscaling
# description: |
#   An autoscaler that may go down to one replica makes the next node drain an outage; a number left
#   open means one. One without a sensible upper bound turns a flood of requests, or a broken metric, into a
#   full cluster and a bill.
# related_resources:
#   - https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
# custom:
#   severity: low
#   match:
#     resources: [{group: autoscaling, resources: [horizontalpodautoscalers]}]
#   remediation: Set minReplicas and maxReplicas within the policy's parameters.
#   parameters:
#     type: object
#     properties:
#       minimum:
#         description: The least that minReplicas may be.
#         type: integer
#         minimum: 2
#         default: 2
#       maximum:
#         description: The most that maxReplicas may be.
#         type: integer
#         minimum: 2
#         default: 100
package portcullis.workloads.autoscaling_bounds

deny contains finding if {
	replicas := object.get(input.object.spec, "minReplicas", 1)
	replicas < input.parameters.minimum
	finding := {
		"msg": sprintf("the autoscaler may go down to %d replica(s); at least %d are needed", [replicas, input.parameters.minimum]),
		"path": "spec.minReplicas",
		"fix": [{"op": "set", "path": "spec.minReplicas", "value": input.parameters.minimum}],
	}
}

deny contains finding if {
	input.object.spec.maxReplicas > input.parameters.maximum
	finding := {
		"msg": sprintf("the autoscaler may go up to %d replicas; at most %d are allowed", [input.object.spec.maxReplicas, input.parameters.maximum]),
		"path": "spec.maxReplicas",
		"fix": [{"op": "set", "path": "spec.maxReplicas", "value": input.parameters.maximum}],
	}
}
