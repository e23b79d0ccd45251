# METADATA
# title: Budgets for more replicas than there are
# description: |
#   A PodDisruptionBudget that wants as many pods available as its Deployments and StatefulSets have
#   replicas forbids every eviction, just as maxUnavailable 0 does: most often minAvailable 1 beside a
#   single replica. Node drains and upgrades then stop.
# related_resources:
#   - https://kubernetes.io/docs/tasks/run-application/configure-pdb/
# custom:
#   severity: medium
#   match:
#     resources: [{group: policy, resources: [poddisruptionbudgets]}]
#   reads:
#     - {group: apps, resource: deployments, scope: namespace}
#     - {group: apps, resource: statefulsets, scope: namespace}
#   remediation: Lower minAvailable, better use maxUnavailable 1, or raise the replicas of the workload.
package portcullis.workloads.unsatisfiable_budgets

import data.portcullis.lib.selectors

deny contains finding if {
	is_number(input.object.spec.minAvailable)
	replicas > 0
	replicas <= input.object.spec.minAvailable
	finding := {
		"msg": sprintf("%d pods have to be available, but the workloads that the budget selects have only %d", [input.object.spec.minAvailable, replicas]),
		"path": "spec.minAvailable",
		"fix": [{"op": "set", "path": "spec.minAvailable", "value": replicas - 1}],
	}
}

replicas := sum([object.get(owner.object.spec, "replicas", 1) |
	some owner in input.cluster
	owner.resource in {"deployments", "statefulsets"}
	owner.namespace == input.request.namespace
	selectors.selects(input.object.spec.selector, owner.object.spec.template.metadata.labels)
])
