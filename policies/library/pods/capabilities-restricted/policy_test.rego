package portcullis.pods.capabilities_restricted_test

import data.portcullis.pods.capabilities_restricted

pod(os, added, dropped) := {
	"parameters": {"allowed": ["NET_BIND_SERVICE"]},
	"workload": {"os": os, "containers": [{"name": "app", "path": "spec.containers[0]", "securityContext": {"capabilities": {"add": added, "drop": dropped}}}]},
}

test_a_container_that_does_not_drop_all_is_refused if {
	capabilities_restricted.deny == {{
		"msg": `container "app" does not drop all capabilities`,
		"path": "spec.containers[0].securityContext.capabilities.drop",
		"fix": [{"op": "set", "path": "spec.containers[0].securityContext.capabilities.drop", "value": ["ALL"]}],
	}} with input as pod("", [], ["NET_RAW", "all"])
}

test_a_container_that_adds_more_than_is_allowed_is_refused if {
	capabilities_restricted.deny == {{
		"msg": `container "app" adds capability "CHOWN"`,
		"path": "spec.containers[0].securityContext.capabilities.add[1]",
		"fix": [{"op": "remove", "path": "spec.containers[0].securityContext.capabilities.add[1]"}],
	}} with input as pod("linux", ["NET_BIND_SERVICE", "CHOWN"], ["ALL"])
}

test_dropping_all_and_adding_the_low_ports_passes if {
	count(capabilities_restricted.deny) == 0 with input as pod("", ["NET_BIND_SERVICE"], ["KILL", "ALL"])
}

test_windows_is_exempt if {
	count(capabilities_restricted.deny) == 0 with input as pod("windows", ["CHOWN"], [])
}
