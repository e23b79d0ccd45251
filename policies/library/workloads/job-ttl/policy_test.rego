package portcullis.workloads.job_ttl_test

import data.portcullis.workloads.job_ttl

found(object) if count(job_ttl.deny) == 1 with input as {"parameters": {"maximum": 60}, "object": object}

test_jobs_and_templates_need_a_bound if {
	found({"kind": "Job", "spec": {}})
	found({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {}}}})
	found({"kind": "Job", "spec": {"ttlSecondsAfterFinished": 61}})
	found({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"ttlSecondsAfterFinished": 61}}}})
}

test_bounded_ones_pass if {
	not found({"kind": "Job", "spec": {"ttlSecondsAfterFinished": 0}})
	not found({"kind": "Job", "spec": {"ttlSecondsAfterFinished": 60}})
	not found({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"ttlSecondsAfterFinished": 60}}}})
}
