# METADATA
# title: Host namespaces
# description: |
#   The namespaces of the node are the walls between a pod and everything else on it. With the
#   network namespace an attacker reads the node's traffic and reaches services bound to localhost,
#   the kubelet and the cloud metadata service past every NetworkPolicy; with the process namespace
#   it reads the environment and memory of other pods' processes; with the IPC namespace their shared memory.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Remove hostNetwork, hostPID and hostIPC, and reach the node over a Service or the Kubernetes API instead.
#   controls:
#     pss: [baseline/hostNamespaces]
#     nsa: [pod-security/host-namespaces]
#     cis: ["5.2.3", "5.2.4", "5.2.5"]
#     nist-800-190: ["4.4.2", "4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.host_namespaces

deny contains shared("hostNetwork", "network") if input.workload.hostNetwork

deny contains shared("hostPID", "process") if input.workload.hostPID

deny contains shared("hostIPC", "IPC") if input.workload.hostIPC

shared(field, namespace) := {
	"msg": sprintf("pod shares the node's %s namespace", [namespace]),
	"path": path,
	"fix": [{"op": "remove", "path": path}],
} if {
	path := concat(".", [input.workload.path, field])
}
