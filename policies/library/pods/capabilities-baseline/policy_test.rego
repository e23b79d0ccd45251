package portcullis.pods.capabilities_baseline_test

import data.portcullis.pods.capabilities_baseline

pod(added) := {
	"parameters": {"allowed": ["CHOWN", "KILL"]},
	"workload": {"containers": [{"name": "app", "path": "spec.containers[0]", "securityContext": {"capabilities": {"add": added, "drop": []}}}]},
}

test_a_capability_that_is_not_allowed_is_named_with_its_place if {
	capabilities_baseline.deny == {{
		"msg": `container "app" adds capability "SYS_ADMIN"`,
		"path": "spec.containers[0].securityContext.capabilities.add[1]",
		"fix": [{"op": "remove", "path": "spec.containers[0].securityContext.capabilities.add[1]"}],
	}} with input as pod(["CHOWN", "SYS_ADMIN"])
}

test_names_are_compared_exactly if {
	count(capabilities_baseline.deny) == 3 with input as pod(["chown", "CAP_CHOWN", "ALL"])
}

test_allowed_capabilities_pass if {
	count(capabilities_baseline.deny) == 0 with input as pod(["CHOWN", "KILL"])
}
