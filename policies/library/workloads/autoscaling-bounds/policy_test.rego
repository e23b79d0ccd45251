package portcullis.workloads.autoscaling_bounds_test

import data.portcullis.workloads.autoscaling_bounds

scaler(spec) := {"parameters": {"minimum": 2, "maximum": 10}, "object": {"spec": spec}}

paths contains finding.path if some finding in autoscaling_bounds.deny

test_a_minimum_left_open_means_one if paths == {"spec.minReplicas"} with input as scaler({"maxReplicas": 5})

test_both_bounds_are_judged if paths == {"spec.minReplicas", "spec.maxReplicas"} with input as scaler({"minReplicas": 0, "maxReplicas": 11})

test_within_bounds_pass if count(paths) == 0 with input as scaler({"minReplicas": 2, "maxReplicas": 10})
