package portcullis.workloads.blocking_budgets_test

import data.portcullis.workloads.blocking_budgets

found(spec) if count(blocking_budgets.deny) == 1 with input as {"object": {"spec": spec}}

test_no_disruption_is_a_finding_however_it_is_written if {
	every value in [0, "0%", "00%"] { found({"maxUnavailable": value}) }
	every value in ["100%", "0100%"] { found({"minAvailable": value}) }
}

test_anything_else_passes if {
	every value in [1, 10, "1%", "10%", "100%"] { not found({"maxUnavailable": value}) }
	every value in [0, 1, 100, "0%", "99%"] { not found({"minAvailable": value}) }
}
