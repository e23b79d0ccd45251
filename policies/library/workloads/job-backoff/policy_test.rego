package portcullis.workloads.job_backoff_test

import data.portcullis.workloads.job_backoff

messages(spec) := result if {
	result := {finding.msg | some finding in job_backoff.deny} with input as {"parameters": {"maximum": 6}, "object": {"spec": spec}}
}

test_too_many_retries_are_named if {
	messages({"backoffLimit": 7}) == {"the Job may be retried 7 times; at most 6 are allowed"}
	messages({"jobTemplate": {"spec": {"backoffLimit": 9}}}) == {"the Job may be retried 9 times; at most 6 are allowed"}
}

test_others_pass if {
	messages({}) == set()
	messages({"backoffLimit": 6}) == set()
}
