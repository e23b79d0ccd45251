package portcullis.workloads.job_deadline_test

import data.portcullis.workloads.job_deadline

found(object) if count(job_deadline.deny) == 1 with input as {"parameters": {"maximum": 60}, "object": object}

test_jobs_and_templates_need_a_deadline if {
	found({"kind": "Job", "spec": {}})
	found({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {}}}})
	found({"kind": "Job", "spec": {"activeDeadlineSeconds": 61}})
	found({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"activeDeadlineSeconds": 61}}}})
}

test_bounded_ones_pass if {
	not found({"kind": "Job", "spec": {"activeDeadlineSeconds": 60}})
	not found({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"activeDeadlineSeconds": 60}}}})
}

test_a_deadline_of_the_pod_is_none_of_the_job if {
	found({"kind": "Job", "spec": {"template": {"spec": {"activeDeadlineSeconds": 60}}}})
}
