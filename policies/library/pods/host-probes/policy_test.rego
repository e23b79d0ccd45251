package portcullis.pods.host_probes_test

import data.portcullis.pods.host_probes

pod(probe_host, hook_host) := {"workload": {"containers": [{
	"name": "app",
	"probes": [{"type": "liveness", "handler": "httpGet", "host": probe_host, "path": "spec.containers[0].livenessProbe"}],
	"hooks": [{"type": "preStop", "handler": "tcpSocket", "host": hook_host, "path": "spec.containers[0].lifecycle.preStop"}],
}]}}

test_a_probe_of_another_host_is_refused if {
	host_probes.deny == {{
		"msg": `liveness probe of container "app" is sent to host "169.254.169.254"`,
		"path": "spec.containers[0].livenessProbe.httpGet.host",
		"fix": [{"op": "remove", "path": "spec.containers[0].livenessProbe.httpGet.host"}],
	}} with input as pod("169.254.169.254", "")
}

test_a_hook_to_another_host_is_refused if {
	host_probes.deny == {{
		"msg": `preStop hook of container "app" is sent to host "localhost"`,
		"path": "spec.containers[0].lifecycle.preStop.tcpSocket.host",
		"fix": [{"op": "remove", "path": "spec.containers[0].lifecycle.preStop.tcpSocket.host"}],
	}} with input as pod("", "localhost")
}

test_probes_and_hooks_of_the_pod_itself_pass if {
	count(host_probes.deny) == 0 with input as pod("", "")
}
