package portcullis.workloads.cron_concurrency_test

import data.portcullis.workloads.cron_concurrency

found(spec) if count(cron_concurrency.deny) == 1 with input as {"parameters": {"allowed": ["Forbid", "Replace"]}, "object": {"spec": spec}}

test_absent_means_allow if found({})

test_allow_is_a_finding if found({"concurrencyPolicy": "Allow"})

test_the_others_pass if {
	not found({"concurrencyPolicy": "Forbid"})
	not found({"concurrencyPolicy": "Replace"})
}
