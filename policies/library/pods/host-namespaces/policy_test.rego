package portcullis.pods.host_namespaces_test

import data.portcullis.pods.host_namespaces

pod(network, pid, ipc) := {"workload": {
	"path": "spec.template.spec",
	"hostNetwork": network,
	"hostPID": pid,
	"hostIPC": ipc,
}}

paths := {finding.path | some finding in host_namespaces.deny}

test_the_network_namespace_of_the_node_is_refused if {
	host_namespaces.deny == {{
		"msg": "pod shares the node's network namespace",
		"path": "spec.template.spec.hostNetwork",
		"fix": [{"op": "remove", "path": "spec.template.spec.hostNetwork"}],
	}} with input as pod(true, false, false)
}

test_the_process_namespace_of_the_node_is_refused if {
	paths == {"spec.template.spec.hostPID"} with input as pod(false, true, false)
}

test_the_ipc_namespace_of_the_node_is_refused if {
	paths == {"spec.template.spec.hostIPC"} with input as pod(false, false, true)
}

test_each_namespace_is_a_finding_of_its_own if {
	count(host_namespaces.deny) == 3 with input as pod(true, true, true)
}

test_namespaces_of_its_own_pass if {
	count(host_namespaces.deny) == 0 with input as pod(false, false, false)
}
