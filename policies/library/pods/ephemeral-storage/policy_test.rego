package portcullis.pods.ephemeral_storage_test

import data.portcullis.pods.ephemeral_storage

pod(limits, role, resources) := {
	"parameters": {"limits": limits},
	"workload": {"containers": [{"name": "app", "path": "spec.containers[0]", "role": role, "resources": resources}]},
}

request := {"requests": {"ephemeralStorage": {"text": "1Gi", "value": 1073741824}}, "limits": {}}

paths contains finding.path if some finding in ephemeral_storage.deny

test_request_and_limit_are_asked_for if {
	paths == {
		"spec.containers[0].resources.requests[ephemeral-storage]",
		"spec.containers[0].resources.limits[ephemeral-storage]",
	} with input as pod(true, "app", {"requests": {}, "limits": {}})
}

test_a_request_is_enough_where_the_parameter_says_so if {
	paths == {"spec.containers[0].resources.limits[ephemeral-storage]"} with input as pod(true, "app", request)
	count(paths) == 0 with input as pod(false, "app", request)
}

test_ephemeral_containers_have_no_resources if count(paths) == 0 with input as pod(true, "ephemeral", {"requests": {}, "limits": {}})
