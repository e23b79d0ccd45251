# METADATA
# title: Overlapping runs of CronJobs
# description: |
#   A CronJob starts its next run though the last one has not ended, unless it says otherwise. A run that
#   takes longer than the interval then piles up pods until the namespace or the database behind them is full.
# related_resources:
#   - https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#concurrency-policy
# custom:
#   severity: low
#   match:
#     resources: [{group: batch, resources: [cronjobs]}]
#   remediation: Set concurrencyPolicy to Forbid, or to Replace where a new run makes the old one pointless.
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: The concurrency policies that are allowed.
#         type: array
#         minItems: 1
#         items: {type: string, enum: [Allow, Forbid, Replace]}
#         default: [Forbid, Replace]
package portcullis.workloads.cron_concurrency

deny contains finding if {
	policy := object.get(input.object.spec, "concurrencyPolicy", "Allow")
	not policy in input.parameters.allowed
	finding := {
		"msg": sprintf("the concurrency policy is %s", [policy]),
		"path": "spec.concurrencyPolicy",
		"fix": [{"op": "set", "path": "spec.concurrencyPolicy", "value": input.parameters.allowed[0]}],
	}
}
