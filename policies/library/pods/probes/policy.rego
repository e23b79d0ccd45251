# METADATA
# title: Probes
# description: |
#   Without a readiness probe a pod gets traffic before it can serve, so every rollout fails
#   some requests. Without a liveness probe a program that hangs stays in service until somebody
#   notices. Asked of the app containers of pods that run for good (restartPolicy Always);
#   Jobs and the batch kinds of the parameter end by themselves.
# related_resources:
#   - https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: Add the missing probe to the container, with the path and port on which the program reports its health.
#   parameters:
#     type: object
#     properties:
#       required:
#         description: The probes that each app container needs.
#         type: array
#         items: {type: string, enum: [readiness, liveness, startup]}
#         default: [readiness, liveness]
#       batchKinds:
#         description: Kinds whose pods end by themselves, whatever their restart policy says.
#         type: array
#         items: {type: string}
#         default: [Job, CronJob, JobSet, Workflow, WorkflowTemplate, ClusterWorkflowTemplate, CronWorkflow, Task, TaskRun, Pipeline, PipelineRun, MPIJob, PyTorchJob, TFJob, XGBoostJob, PaddleJob, JAXJob, TrainJob, RayJob]
package portcullis.pods.probes

deny contains finding if {
	input.workload.restartPolicy == "Always"
	not input.workload.kind in input.parameters.batchKinds
	some container in input.workload.containers
	container.role == "app"
	types := {probe.type | some probe in container.probes}
	some required in input.parameters.required
	not required in types
	path := concat("", [container.path, ".", required, "Probe"])
	port := object.get(container, ["ports", 0, "containerPort"], 8080)
	finding := {
		"msg": sprintf("container %q has no %s probe", [container.name, required]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": {"tcpSocket": {"port": port}}}],
	}
}
