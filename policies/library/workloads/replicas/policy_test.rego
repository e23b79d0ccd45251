package portcullis.workloads.replicas_test

import data.portcullis.workloads.replicas

object_of(kind, spec) := {"parameters": {"minimum": 2}, "object": {"kind": kind, "spec": spec}}

passes(kind, spec) if count(replicas.deny) == 0 with input as object_of(kind, spec)

test_too_few_are_named if {
	some finding in replicas.deny with input as object_of("Deployment", {"replicas": 1})
	finding.msg == "1 replica(s) are asked for; at least 2 are needed"
}

test_a_manifest_that_says_nothing_means_one if not passes("Deployment", {})

test_a_scale_that_says_nothing_means_zero if passes("Scale", {})

test_scaling_down_is_judged if not passes("Scale", {"replicas": 1})

test_zero_is_switched_off if {
	passes("StatefulSet", {"replicas": 0})
	passes("Scale", {"replicas": 0})
}

test_enough_pass if passes("StatefulSet", {"replicas": 2})
