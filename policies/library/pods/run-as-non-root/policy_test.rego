package portcullis.pods.run_as_non_root_test

import data.portcullis.pods.run_as_non_root

pod(host_users, pod_context, container_context) := {"workload": {
	"hostUsers": host_users,
	"securityContext": object.union({"path": "spec.securityContext"}, pod_context),
	"containers": [{"name": "app", "path": "spec.containers[0]", "securityContext": container_context}],
}}

paths := {finding.path | some finding in run_as_non_root.deny}

test_a_container_for_which_nobody_says_so_is_refused if {
	run_as_non_root.deny == {{
		"msg": `container "app" may run as root`,
		"path": "spec.containers[0].securityContext.runAsNonRoot",
		"fix": [{"op": "set", "path": "spec.containers[0].securityContext.runAsNonRoot", "value": true}],
	}} with input as pod(true, {}, {})
}

test_a_container_that_says_no_is_refused if {
	paths == {"spec.containers[0].securityContext.runAsNonRoot"} with input as pod(true, {"runAsNonRoot": true}, {"runAsNonRoot": false})
}

test_a_pod_that_says_no_is_refused_even_if_overridden if {
	run_as_non_root.deny == {{
		"msg": "pod lets its containers run as root",
		"path": "spec.securityContext.runAsNonRoot",
		"fix": [{"op": "set", "path": "spec.securityContext.runAsNonRoot", "value": true}],
	}} with input as pod(true, {"runAsNonRoot": false}, {"runAsNonRoot": true})
}

test_containers_that_must_not_be_root_pass if {
	count(run_as_non_root.deny) == 0 with input as pod(true, {}, {"runAsNonRoot": true})
}

test_in_a_user_namespace_everything_passes if {
	count(run_as_non_root.deny) == 0 with input as pod(false, {"runAsNonRoot": false}, {"runAsNonRoot": false})
}
