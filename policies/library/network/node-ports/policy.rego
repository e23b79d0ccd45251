# METADATA
# title: NodePort Services
# description: |
#   A NodePort opens a port on every address of every node, past Ingress, TLS and whatever firewall
#   stands before the load balancer. Nodes with a public address publish the Service to the internet,
#   and NetworkPolicies often see the node's address instead of the client's. A Service of type
#   LoadBalancer opens node ports as well unless it says otherwise.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport
# custom:
#   severity: medium
#   match:
#     resources: [{group: "", resources: [services]}]
#   remediation: Use type ClusterIP and publish the Service through an Ingress or a Gateway.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       allowedPorts:
#         description: Node ports that may be used. A Service of type NodePort must then name its ports.
#         type: array
#         items: {type: integer}
#         default: []
#       loadBalancers:
#         description: Whether Services of type LoadBalancer must set allocateLoadBalancerNodePorts to false. Not every load balancer can do without node ports.
#         type: boolean
#         default: false
package portcullis.network.node_ports

deny contains finding if {
	input.object.spec.type == "NodePort"
	some port in input.object.spec.ports
	not allowed(port)
	finding := {
		"msg": sprintf("port %v is opened on every node", [port.port]),
		"path": "spec.type",
		"fix": array.concat(
			# The API server refuses what only node ports need in a Service of type ClusterIP.
			[{"op": "remove", "path": "spec.externalTrafficPolicy"}, {"op": "set", "path": "spec.type", "value": "ClusterIP"}],
			no_node_ports,
		),
	}
}

deny contains finding if {
	input.object.spec.type == "LoadBalancer"
	input.parameters.loadBalancers
	not without_node_ports
	finding := {
		"msg": "the load balancer opens its ports on every node",
		"path": "spec.allocateLoadBalancerNodePorts",
		"fix": array.concat([{"op": "set", "path": "spec.allocateLoadBalancerNodePorts", "value": false}], no_node_ports),
	}
}

allowed(port) if port.nodePort in input.parameters.allowedPorts

without_node_ports if input.object.spec.allocateLoadBalancerNodePorts == false

no_node_ports := [{"op": "remove", "path": sprintf("spec.ports[%d].nodePort", [i])} | some i, _ in input.object.spec.ports]
