package portcullis.workloads.duplicate_env_test

import data.portcullis.workloads.duplicate_env

pod(names) := {"workload": {"containers": [{
	"name": "app",
	"path": "spec.containers[0]",
	"env": [{"name": name} | some name in names],
}]}}

test_all_but_the_last_are_removed if {
	duplicate_env.deny == {{
		"msg": `container "app" sets A more than once`,
		"path": "spec.containers[0].env[0]",
		"fix": [
			{"op": "remove", "path": "spec.containers[0].env[0]"},
			{"op": "remove", "path": "spec.containers[0].env[2]"},
		],
	}} with input as pod(["A", "B", "A", "C", "A"])
}

test_each_name_is_a_finding_of_its_own if count(duplicate_env.deny) == 2 with input as pod(["A", "B", "B", "A"])

test_different_names_pass if {
	count(duplicate_env.deny) == 0 with input as pod(["A", "a", "B"])
	count(duplicate_env.deny) == 0 with input as pod([])
}
