# METADATA
# title: Retries of Jobs
# description: |
#   A Job that can only fail starts pod after pod, each pulling images, filling logs and calling whatever it
#   breaks on. backoffLimit bounds that, in the template of a CronJob too; a Job that says nothing retries
#   six times.
# related_resources:
#   - https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy
# custom:
#   severity: low
#   match:
#     resources: [{group: batch, resources: [jobs, cronjobs]}]
#   remediation: Set backoffLimit to no more than the maximum.
#   parameters:
#     type: object
#     properties:
#       maximum:
#         description: How often a Job may be retried.
#         type: integer
#         minimum: 6
#         default: 6
package portcullis.workloads.job_backoff

deny contains finding if {
	input.object.spec.backoffLimit > input.parameters.maximum
	finding := objection("spec.backoffLimit", input.object.spec.backoffLimit)
}

deny contains finding if {
	input.object.spec.jobTemplate.spec.backoffLimit > input.parameters.maximum
	finding := objection("spec.jobTemplate.spec.backoffLimit", input.object.spec.jobTemplate.spec.backoffLimit)
}

objection(path, limit) := {
	"msg": sprintf("the Job may be retried %d times; at most %d are allowed", [limit, input.parameters.maximum]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": input.parameters.maximum}],
}
