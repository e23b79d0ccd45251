package portcullis.pods.privileged_test

import data.portcullis.pods.privileged

pod(privileged) := {"workload": {"containers": [
	{"name": "app", "path": "spec.containers[0]", "securityContext": {"privileged": false}},
	{"name": "debug", "path": "spec.ephemeralContainers[0]", "securityContext": {"privileged": privileged}},
]}}

test_a_privileged_container_of_any_list_is_named_with_its_field if {
	privileged.deny == {{
		"msg": `container "debug" is privileged`,
		"path": "spec.ephemeralContainers[0].securityContext.privileged",
		"fix": [{"op": "remove", "path": "spec.ephemeralContainers[0].securityContext.privileged"}],
	}} with input as pod(true)
}

test_ordinary_containers_pass if {
	count(privileged.deny) == 0 with input as pod(false)
}
