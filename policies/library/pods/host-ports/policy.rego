# METADATA
# title: Host ports
# description: |
#   A host port opens the container on every address of the node, beside NetworkPolicies and
#   Services. It exposes what was meant for the cluster, lets a pod take the place of a node's
#   service by sitting on its port, and ties the pod to nodes where the port is free.
#   Under hostNetwork every declared port is a host port.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Remove hostPort (and hostNetwork, which implies it) and expose the port with a Service.
#   controls:
#     pss: [baseline/hostPorts]
#     nsa: [pod-security/host-network]
#     cis: ["5.2.13"]
#     nist-800-190: ["4.4.2"]
#     owasp-k8s: [K01]
package portcullis.pods.host_ports

deny contains finding if {
	some container in input.workload.containers
	some port in container.ports
	port.hostPort != 0
	path := concat("", [port.path, ".hostPort"])
	finding := {
		"msg": sprintf("container %q opens port %d on the node", [container.name, port.hostPort]),
		"path": path,
		"fix": array.concat([{"op": "remove", "path": path}], host_network),
	}
}

# Under hostNetwork the API server fills hostPort in again, so that has to go too.
host_network := [{"op": "remove", "path": concat("", [input.workload.path, ".hostNetwork"])} |
	input.workload.hostNetwork
]
