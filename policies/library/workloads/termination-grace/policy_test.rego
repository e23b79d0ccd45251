package portcullis.workloads.termination_grace_test

import data.portcullis.workloads.termination_grace

fixed(seconds) := result if {
	result := {finding.fix[0].value | some finding in termination_grace.deny} with input as {
		"parameters": {"minimum": 1, "maximum": 600},
		"workload": {"path": "spec", "terminationGracePeriodSeconds": seconds},
	}
}

test_the_fix_is_the_nearest_bound if {
	fixed(0) == {1}
	fixed(601) == {600}
}

test_within_bounds_pass if {
	fixed(1) == set()
	fixed(30) == set()
	fixed(600) == set()
}
