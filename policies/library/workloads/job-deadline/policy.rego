# METADATA
# title: Deadline of Jobs
# description: |
#   A Job that hangs keeps its resources, and a CronJob that forbids overlap never runs again. A deadline for
#   the Job as a whole ends it, whatever its pods do. activeDeadlineSeconds has to be set, in the template
#   of a CronJob too, and to no more than the maximum.
# related_resources:
#   - https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup
# custom:
#   severity: low
#   match:
#     resources: [{group: batch, resources: [jobs, cronjobs]}]
#   remediation: Set activeDeadlineSeconds of the Job to the longest time that it may take.
#   parameters:
#     type: object
#     properties:
#       maximum:
#         description: For how many seconds a Job may run, a day by default.
#         type: integer
#         minimum: 1
#         default: 86400
package portcullis.workloads.job_deadline

deny contains finding if {
	input.object.kind == "Job"
	spec := input.object.spec
	not bounded(spec)
	finding := objection("spec.activeDeadlineSeconds")
}

deny contains finding if {
	input.object.kind == "CronJob"
	spec := input.object.spec.jobTemplate.spec
	not bounded(spec)
	finding := objection("spec.jobTemplate.spec.activeDeadlineSeconds")
}

bounded(spec) if spec.activeDeadlineSeconds <= input.parameters.maximum

objection(path) := {
	"msg": sprintf("the Job has no deadline within %d seconds", [input.parameters.maximum]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": input.parameters.maximum}],
}
