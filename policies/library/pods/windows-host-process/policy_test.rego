package portcullis.pods.windows_host_process_test

import data.portcullis.pods.windows_host_process

options(value, path) := {"windowsOptions": {"hostProcess": value, "runAsUserName": "", "path": path}}

pod(security_context, containers) := {"workload": {"securityContext": security_context, "containers": containers}}

own(value) := [{"securityContext": options(value, "spec.containers[0].securityContext.windowsOptions")}]

inherited(value) := options(value, "spec.securityContext.windowsOptions")

test_a_process_of_the_node_is_refused if {
	windows_host_process.deny == {{
		"msg": "windowsOptions.hostProcess runs containers as processes of the node",
		"path": "spec.containers[0].securityContext.windowsOptions.hostProcess",
		"fix": [{"op": "remove", "path": "spec.containers[0].securityContext.windowsOptions.hostProcess"}],
	}} with input as pod({}, own(true))
}

test_the_setting_of_the_pod_counts_even_if_overridden if {
	count(windows_host_process.deny) == 1 with input as pod(inherited(true), own(false))
}

test_what_two_containers_inherit_is_one_finding if {
	bad := inherited(true)
	count(windows_host_process.deny) == 1 with input as pod(bad, [{"securityContext": bad}, {"securityContext": bad}])
}

test_ordinary_windows_pods_pass if {
	count(windows_host_process.deny) == 0 with input as pod(inherited(false), own(false))
}
