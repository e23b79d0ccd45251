# METADATA
# title: Topology spread
# description: |
#   Replicas that share one node, or one zone, fail together. A topology spread constraint or a pod
#   anti-affinity over one of the listed keys keeps them apart; the scheduler's own default only prefers
#   to, and only until a node is full.
# related_resources:
#   - https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: Add a topologySpreadConstraint over one of the keys, with a labelSelector that matches the pods.
#   parameters:
#     type: object
#     properties:
#       keys:
#         description: Topology keys of which one has to be used.
#         type: array
#         minItems: 1
#         items: {type: string}
#         default: [kubernetes.io/hostname, topology.kubernetes.io/zone]
#       minimumReplicas:
#         description: From how many replicas on they have to be spread.
#         type: integer
#         default: 2
package portcullis.workloads.topology_spread

deny contains finding if {
	input.workload.replicas >= input.parameters.minimumReplicas
	not spread
	path := concat("", [input.workload.path, ".topologySpreadConstraints"])
	finding := {
		"msg": sprintf("nothing keeps the %d replicas on different nodes or zones", [input.workload.replicas]),
		"path": path,
		"fix": [{"op": "add", "path": path, "value": {
			"maxSkew": 1,
			"topologyKey": input.parameters.keys[0],
			"whenUnsatisfiable": "ScheduleAnyway",
			"labelSelector": {"matchLabels": {label.key: label.value | some label in input.workload.labels}},
		}}],
	}
}

spread if {
	some key in input.workload.topologyKeys
	key in input.parameters.keys
}
