package portcullis.pods.host_ports_test

import data.portcullis.pods.host_ports

pod(port, network) := {"workload": {
	"path": "spec",
	"hostNetwork": network,
	"containers": [{"name": "app", "ports": [{"hostPort": port, "path": "spec.containers[0].ports[0]"}]}],
}}

test_a_port_of_the_node_is_refused if {
	host_ports.deny == {{
		"msg": `container "app" opens port 8080 on the node`,
		"path": "spec.containers[0].ports[0].hostPort",
		"fix": [{"op": "remove", "path": "spec.containers[0].ports[0].hostPort"}],
	}} with input as pod(8080, false)
}

test_under_host_network_the_fix_removes_that_too if {
	some finding in host_ports.deny with input as pod(8080, true)
	finding.fix == [
		{"op": "remove", "path": "spec.containers[0].ports[0].hostPort"},
		{"op": "remove", "path": "spec.hostNetwork"},
	]
}

test_ports_of_the_pod_pass if {
	count(host_ports.deny) == 0 with input as pod(0, false)
}
