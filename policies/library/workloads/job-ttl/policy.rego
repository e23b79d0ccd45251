# METADATA
# title: Time to live of finished Jobs
# description: |
#   Finished Jobs and their pods stay until somebody deletes them: they fill etcd, slow down every list, and
#   keep logs and environment readable. ttlSecondsAfterFinished has to be set, in the template of a
#   CronJob too, and to no more than the maximum.
# related_resources:
#   - https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/
# custom:
#   severity: low
#   match:
#     resources: [{group: batch, resources: [jobs, cronjobs]}]
#   remediation: Set ttlSecondsAfterFinished to no more than the maximum.
#   parameters:
#     type: object
#     properties:
#       maximum:
#         description: For how many seconds a finished Job may stay, a week by default.
#         type: integer
#         minimum: 0
#         default: 604800
package portcullis.workloads.job_ttl

deny contains finding if {
	input.object.kind == "Job"
	spec := input.object.spec
	not bounded(spec)
	finding := objection("spec.ttlSecondsAfterFinished")
}

deny contains finding if {
	input.object.kind == "CronJob"
	spec := input.object.spec.jobTemplate.spec
	not bounded(spec)
	finding := objection("spec.jobTemplate.spec.ttlSecondsAfterFinished")
}

bounded(spec) if spec.ttlSecondsAfterFinished <= input.parameters.maximum

objection(path) := {
	"msg": sprintf("the Job is not cleaned up within %d seconds after it finished", [input.parameters.maximum]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": input.parameters.maximum}],
}
