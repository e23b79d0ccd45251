package portcullis.pods.resource_requests_test

import data.portcullis.pods.resource_requests

pod(role, requests) := {"workload": {"containers": [{"name": "app", "path": "spec.containers[0]", "role": role, "resources": {"requests": requests}}]}}

full := {"cpu": {"text": "100m", "milli": 100}, "memory": {"text": "1Mi", "value": 1048576}}

paths contains finding.path if some finding in resource_requests.deny

test_each_missing_request_is_a_finding if {
	paths == {"spec.containers[0].resources.requests.cpu", "spec.containers[0].resources.requests.memory"} with input as pod("app", {})
}

test_zero_is_no_request if {
	paths == {"spec.containers[0].resources.requests.cpu"} with input as pod("app", object.union(full, {"cpu": {"text": "0", "milli": 0}}))
	paths == {"spec.containers[0].resources.requests.memory"} with input as pod("app", object.union(full, {"memory": {"text": "0", "value": 0}}))
}

test_both_requests_pass if count(resource_requests.deny) == 0 with input as pod("sidecar", full)

test_ephemeral_containers_cannot_request if count(resource_requests.deny) == 0 with input as pod("ephemeral", {})

test_requests_of_the_pod_hold_for_its_containers if {
	count(resource_requests.deny) == 0 with input as object.union(pod("app", {}), {"workload": {"resources": {"requests": full}}})
	paths == {"spec.containers[0].resources.requests.cpu", "spec.containers[0].resources.requests.memory"} with input as object.union(
		pod("app", {}),
		{"workload": {"resources": {"requests": {"cpu": {"text": "0", "milli": 0}}}}},
	)
}
