# METADATA
# title: Disruption budgets
# description: |
#   Draining a node evicts all its pods at once. Only a PodDisruptionBudget that selects the pods makes the
#   drain wait until the others serve; without one, two replicas that happen to share a node are one outage.
# related_resources:
#   - https://kubernetes.io/docs/tasks/run-application/configure-pdb/
# custom:
#   severity: low
#   match:
#     resources: [{group: apps, resources: [deployments, statefulsets]}]
#   reads: [{group: policy, resource: poddisruptionbudgets, scope: namespace, more: allows}]
#   remediation: Create a PodDisruptionBudget in the same namespace whose selector matches the pod template's labels, with maxUnavailable 1.
#   fix: none
#   fixReason: a further object is needed, the PodDisruptionBudget.
package portcullis.workloads.disruption_budgets

import data.portcullis.lib.selectors

deny contains finding if {
	input.object.spec.replicas > 1
	not guarded
	finding := {
		"msg": sprintf("no PodDisruptionBudget selects the %d replicas", [input.object.spec.replicas]),
		"path": "spec.template.metadata.labels",
	}
}

guarded if {
	some budget in input.cluster
	budget.resource == "poddisruptionbudgets"
	budget.namespace == input.request.namespace
	selectors.selects(budget.object.spec.selector, input.object.spec.template.metadata.labels)
}
