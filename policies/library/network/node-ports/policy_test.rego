package portcullis.network.node_ports_test

import data.portcullis.network.node_ports

service(spec, parameters) := {"object": {"spec": spec}, "parameters": object.union({"allowedPorts": [], "loadBalancers": false}, parameters)}

test_the_fix_takes_along_what_cluster_ip_refuses if {
	some finding in node_ports.deny with input as service({"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}, {})
	finding.fix == [
		{"op": "remove", "path": "spec.externalTrafficPolicy"},
		{"op": "set", "path": "spec.type", "value": "ClusterIP"},
		{"op": "remove", "path": "spec.ports[0].nodePort"},
		{"op": "remove", "path": "spec.ports[1].nodePort"},
	]
}

test_each_open_port_is_named if {
	findings := node_ports.deny with input as service({"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}, {})
	{finding.msg | some finding in findings} == {"port 80 is opened on every node", "port 81 is opened on every node"}
}

test_load_balancers_are_judged_by_parameter if {
	count(node_ports.deny) == 0 with input as service({"type": "LoadBalancer", "ports": [{"port": 80}]}, {})
	count(node_ports.deny) == 1 with input as service({"type": "LoadBalancer", "ports": [{"port": 80}]}, {"loadBalancers": true})
}
