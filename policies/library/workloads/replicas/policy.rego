# METADATA
# title: Replicas
# description: |
#   With one replica every node drain, upgrade and crash is an outage. Deployments and StatefulSets need
#   as many as the parameter says, also when they are scaled. Zero replicas are a workload switched off
#   on purpose and are not objected to. A manifest that leaves the number open means one.
# related_resources:
#   - https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#replicas
# custom:
#   severity: low
#   match:
#     resources: [{group: apps, resources: [deployments, statefulsets, deployments/scale, statefulsets/scale]}]
#   remediation: Set replicas to at least the minimum.
#   parameters:
#     type: object
#     properties:
#       minimum:
#         description: The fewest replicas that survive the loss of a node.
#         type: integer
#         minimum: 2
#         default: 2
package portcullis.workloads.replicas

deny contains finding if {
	input.object.kind != "Scale"
	replicas := object.get(input.object.spec, "replicas", 1)
	replicas < input.parameters.minimum
	replicas > 0
	finding := objection(replicas)
}

# A Scale without replicas means zero: the API server leaves zero out.
deny contains finding if {
	input.object.kind == "Scale"
	input.object.spec.replicas < input.parameters.minimum
	input.object.spec.replicas > 0
	finding := objection(input.object.spec.replicas)
}

objection(replicas) := {
	"msg": sprintf("%d replica(s) are asked for; at least %d are needed", [replicas, input.parameters.minimum]),
	"path": "spec.replicas",
	"fix": [{"op": "set", "path": "spec.replicas", "value": input.parameters.minimum}],
}
