package portcullis.workloads.revision_history_test

import data.portcullis.workloads.revision_history

fixed(spec) := result if {
	result := {finding.fix[0].value | some finding in revision_history.deny} with input as {"parameters": {"minimum": 1, "maximum": 10}, "object": {"spec": spec}}
}

test_the_fix_is_the_nearest_bound if {
	fixed({"revisionHistoryLimit": 0}) == {1}
	fixed({"revisionHistoryLimit": 50}) == {10}
}

test_within_bounds_pass if {
	fixed({"revisionHistoryLimit": 1}) == set()
	fixed({"revisionHistoryLimit": 10}) == set()
	fixed({}) == set()
}
