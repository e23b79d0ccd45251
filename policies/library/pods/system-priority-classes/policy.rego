# METADATA
# title: System priority classes
# description: |
#   system-node-critical and system-cluster-critical pods evict others when a node is full and are the
#   last to be evicted themselves. A tenant who uses them can push the cluster's own DNS and agents aside.
#   They are allowed only in the listed namespaces.
# related_resources:
#   - https://kubernetes.io/docs/tasks/administer-cluster/guaranteed-scheduling-critical-addon-pods/
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Use a priority class of your own, or none.
#   controls:
#     nsa: [network/resource-policies]
#     owasp-k8s: [K01]
#   parameters:
#     type: object
#     properties:
#       namespaces:
#         description: Namespaces whose pods may use the classes named system-…, as globs.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [kube-system]
package portcullis.pods.system_priority_classes

deny contains finding if {
	input.workload.priorityClass != "" # what nearly every pod fails, and cheaper than the next
	startswith(input.workload.priorityClass, "system-")
	not allowed
	path := concat("", [input.workload.path, ".priorityClassName"])
	finding := {
		"msg": sprintf("namespace %q may not use priority class %q", [input.request.namespace, input.workload.priorityClass]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}

allowed if {
	some namespace in input.parameters.namespaces
	glob.match(namespace, null, input.request.namespace)
}
