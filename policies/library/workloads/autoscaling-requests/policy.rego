# METADATA
# title: Requests for autoscaling
# description: |
#   A HorizontalPodAutoscaler that aims at a utilization divides use by request. If one container of its
#   target requests nothing of that resource, nothing can be computed and the workload never scales: it
#   shows first under load. An autoscaler without metrics aims at 80 % of cpu.
# related_resources:
#   - https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
# custom:
#   severity: low
#   match:
#     resources: [{group: autoscaling, resources: [horizontalpodautoscalers]}]
#   reads:
#     - {group: apps, resource: deployments, scope: namespace, more: denies}
#     - {group: apps, resource: statefulsets, scope: namespace, more: denies}
#   remediation: Set the resource's request in every container of the workload that is scaled, or aim at an average value.
#   fix: none
#   fixReason: another object has to change, the workload that is scaled.
package portcullis.workloads.autoscaling_requests

deny contains finding if {
	some resource in measured
	some container in target
	unrequested(container, resource)
	finding := objection(container, resource, "spec.metrics")
}

deny contains finding if {
	some i, metric in input.object.spec.metrics
	some container in target
	container.name == metric.containerResource.container
	metric.containerResource.target.type == "Utilization"
	unrequested(container, metric.containerResource.name)
	finding := objection(container, metric.containerResource.name, sprintf("spec.metrics[%d].containerResource", [i]))
}

measured contains "cpu" if not input.object.spec.metrics

measured contains metric.resource.name if {
	some metric in input.object.spec.metrics
	metric.resource.target.type == "Utilization"
}

target contains container if {
	some scaled in input.cluster
	scaled.kind == input.object.spec.scaleTargetRef.kind
	scaled.name == input.object.spec.scaleTargetRef.name
	scaled.namespace == input.request.namespace
	some container in scaled.object.spec.template.spec.containers
}

# A limit without a request becomes the request.
unrequested(container, resource) if {
	not container.resources.requests[resource]
	not container.resources.limits[resource]
}

objection(container, resource, path) := {
	"msg": sprintf("container %q of %s %q requests no %s, so its utilization cannot be computed", [container.name, ref.kind, ref.name, resource]),
	"path": path,
} if {
	ref := input.object.spec.scaleTargetRef
}
