# METADATA
# title: Node set by hand
# description: |
#   A pod that names its node is never scheduled: taints that keep tenants off the control plane, free
#   room, affinity and spread are all passed by, and the pod does not move when the node dies. Only the
#   scheduler sets nodeName, so it is objected to in templates and when a pod is created, not
#   in pods that are already placed.
# related_resources:
#   - https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Remove nodeName; use a nodeSelector or node affinity.
#   controls:
#     nist-800-190: ["4.3.4"]
#     owasp-k8s: [K01]
package portcullis.pods.node_name

deny contains finding if {
	input.workload.nodeName != ""
	input.workload.template
}

deny contains finding if {
	input.workload.nodeName != ""
	input.request.operation == "CREATE"
	input.request.door != "audit"
}

finding := {
	"msg": sprintf("the pod is put on node %q past the scheduler", [input.workload.nodeName]),
	"path": path,
	"fix": [{"op": "remove", "path": path}],
} if {
	path := concat("", [input.workload.path, ".nodeName"])
}
