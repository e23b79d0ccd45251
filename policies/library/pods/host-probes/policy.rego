# METADATA
# title: Probes and hooks to other hosts
# description: |
#   The kubelet sends probes and lifecycle hooks from the node's own network. A host field turns it
#   into a proxy: an attacker who may create pods scans and calls addresses that only nodes reach,
#   such as the cloud metadata service or the node's localhost, and reads the outcome in the pod's status.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Remove host from the probe or hook, so that it goes to the pod itself.
#   controls:
#     pss: [baseline/hostProbesAndHostLifecycle]
#     nist-800-190: ["4.4.2"]
#     owasp-k8s: [K01]
package portcullis.pods.host_probes

deny contains finding if {
	some container in input.workload.containers
	some probe in container.probes
	probe.host != ""
	path := concat(".", [probe.path, probe.handler, "host"])
	finding := {
		"msg": sprintf("%s probe of container %q is sent to host %q", [probe.type, container.name, probe.host]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}

deny contains finding if {
	some container in input.workload.containers
	some hook in container.hooks
	hook.host != ""
	path := concat(".", [hook.path, hook.handler, "host"])
	finding := {
		"msg": sprintf("%s hook of container %q is sent to host %q", [hook.type, container.name, hook.host]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}
