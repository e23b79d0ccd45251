# METADATA
# title: Windows HostProcess containers
# description: |
#   A HostProcess container is a process on the Windows node itself, with its file system, network
#   and rights up to LocalSystem: the Windows counterpart of a privileged container. Whoever owns it
#   owns the node.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
#   - https://kubernetes.io/docs/tasks/configure-pod-container/create-hostprocess-pod/
# custom:
#   severity: critical
#   match:
#     workload: any
#   remediation: Remove windowsOptions.hostProcess, or set it to false.
#   controls:
#     pss: [baseline/windowsHostProcess]
#     nsa: [pod-security/privileged]
#     cis: ["5.2.11"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.windows_host_process

deny contains host_process(options.path) if {
	some container in input.workload.containers
	options := container.securityContext.windowsOptions
	options.hostProcess
}

# The pod's own setting is refused even if every container overrides it, since an
# ephemeral container would inherit it.
deny contains host_process(options.path) if {
	options := input.workload.securityContext.windowsOptions
	options.hostProcess
}

# A setting that containers inherit from the pod is one finding: same path, same message.
host_process(options_path) := {
	"msg": "windowsOptions.hostProcess runs containers as processes of the node",
	"path": path,
	"fix": [{"op": "remove", "path": path}],
} if {
	path := concat("", [options_path, ".hostProcess"])
}
