# METADATA
# title: Shared process namespace
# description: |
#   With shareProcessNamespace every container of the pod sees the others' processes, can signal them and
#   read their environment and open files through /proc: a broken sidecar then owns the
#   application's secrets.
# related_resources:
#   - https://kubernetes.io/docs/tasks/configure-pod-container/share-process-namespace/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Remove shareProcessNamespace; `kubectl debug --target` shares one container's processes when they have to be looked at.
#   controls:
#     nsa: [pod-security/host-namespaces]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.shared_process_namespace

deny contains finding if {
	input.workload.shareProcessNamespace
	path := concat("", [input.workload.path, ".shareProcessNamespace"])
	finding := {
		"msg": "the containers of the pod share one process namespace",
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}
