# METADATA
# title: Budgets that allow no disruption
# description: |
#   A PodDisruptionBudget with maxUnavailable 0 or minAvailable 100% forbids every eviction: nodes can
#   no longer be drained, upgrades stop half-way, and somebody ends up deleting the pods by force.
# related_resources:
#   - https://kubernetes.io/docs/tasks/run-application/configure-pdb/
# custom:
#   severity: medium
#   match:
#     resources: [{group: policy, resources: [poddisruptionbudgets]}]
#   remediation: Set maxUnavailable to 1 and remove minAvailable.
package portcullis.workloads.blocking_budgets

deny contains finding if {
	regex.match(`^0+%?$`, sprintf("%v", [input.object.spec.maxUnavailable]))
	finding := {
		"msg": sprintf("maxUnavailable %v allows no disruption at all", [input.object.spec.maxUnavailable]),
		"path": "spec.maxUnavailable",
		"fix": [{"op": "set", "path": "spec.maxUnavailable", "value": 1}],
	}
}

deny contains finding if {
	regex.match(`^0*100%$`, sprintf("%v", [input.object.spec.minAvailable]))
	finding := {
		"msg": sprintf("minAvailable %v allows no disruption at all", [input.object.spec.minAvailable]),
		"path": "spec.minAvailable",
		"fix": [
			{"op": "remove", "path": "spec.minAvailable"},
			{"op": "set", "path": "spec.maxUnavailable", "value": 1},
		],
	}
}
