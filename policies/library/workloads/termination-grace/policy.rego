# METADATA
# title: Termination grace period
# description: |
#   With no grace period a program is killed in the middle of its requests and writes. With a very long one
#   node drains and rollouts hang, and a pod that was told to stop for a reason goes on working.
# related_resources:
#   - https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: Set terminationGracePeriodSeconds to the time the program needs to stop, within the policy's parameters.
#   parameters:
#     type: object
#     properties:
#       minimum:
#         description: The shortest grace period in seconds.
#         type: integer
#         minimum: 0
#         default: 1
#       maximum:
#         description: The longest grace period in seconds.
#         type: integer
#         minimum: 0
#         default: 600
package portcullis.workloads.termination_grace

deny contains finding if {
	input.workload.terminationGracePeriodSeconds < input.parameters.minimum
	finding := objection(input.parameters.minimum)
}

deny contains finding if {
	input.workload.terminationGracePeriodSeconds > input.parameters.maximum
	finding := objection(input.parameters.maximum)
}

objection(seconds) := {
	"msg": sprintf("the grace period of %d s is not within %d to %d s", [input.workload.terminationGracePeriodSeconds, input.parameters.minimum, input.parameters.maximum]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": seconds}],
} if {
	path := concat("", [input.workload.path, ".terminationGracePeriodSeconds"])
}
