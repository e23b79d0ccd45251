package portcullis.pods.run_as_user_test

import data.portcullis.pods.run_as_user

pod(host_users, pod_context, container_context) := {"workload": {
	"hostUsers": host_users,
	"securityContext": object.union({"path": "spec.securityContext"}, pod_context),
	"containers": [{"name": "app", "path": "spec.containers[0]", "securityContext": container_context}],
}}

test_a_container_that_is_user_0_is_refused if {
	run_as_user.deny == {{
		"msg": `container "app" runs as user 0`,
		"path": "spec.containers[0].securityContext.runAsUser",
		"fix": [{"op": "set", "path": "spec.containers[0].securityContext.runAsUser", "value": 65532}],
	}} with input as pod(true, {}, {"runAsUser": 0})
}

test_a_pod_that_is_user_0_is_refused_even_if_overridden if {
	run_as_user.deny == {{
		"msg": "pod runs as user 0",
		"path": "spec.securityContext.runAsUser",
		"fix": [{"op": "set", "path": "spec.securityContext.runAsUser", "value": 65532}],
	}} with input as pod(true, {"runAsUser": 0}, {"runAsUser": 1000})
}

test_other_users_and_none_pass if {
	count(run_as_user.deny) == 0 with input as pod(true, {"runAsUser": 1000}, {"runAsUser": 65532})
	count(run_as_user.deny) == 0 with input as pod(true, {}, {})
}

test_in_a_user_namespace_everything_passes if {
	count(run_as_user.deny) == 0 with input as pod(false, {"runAsUser": 0}, {"runAsUser": 0})
}
