package portcullis.pods.proc_mount_restricted_test

import data.portcullis.pods.proc_mount_restricted

pod(mount, host_users) := {"workload": {
	"hostUsers": host_users,
	"containers": [{"name": "app", "path": "spec.containers[0]", "securityContext": {"procMount": mount}}],
}}

test_an_unmasked_proc_is_refused if {
	proc_mount_restricted.deny == {{
		"msg": `container "app" sets procMount "Unmasked"`,
		"path": "spec.containers[0].securityContext.procMount",
		"fix": [{"op": "remove", "path": "spec.containers[0].securityContext.procMount"}],
	}} with input as pod("Unmasked", true)
}

test_the_default_passes if {
	count(proc_mount_restricted.deny) == 0 with input as pod("Default", true)
}

test_in_a_user_namespace_it_is_refused_too if {
	count(proc_mount_restricted.deny) == 1 with input as pod("Unmasked", false)
}
