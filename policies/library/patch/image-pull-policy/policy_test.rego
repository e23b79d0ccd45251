package portcullis.patch.image_pull_policy_test

import data.portcullis.patch.image_pull_policy

pod(operation, policy) := {
	"parameters": {"policy": "Always"},
	"request": {"operation": operation, "subresource": ""},
	"workload": {"mirror": false, "containers": [{"name": "setup", "path": "spec.initContainers[2]", "imagePullPolicy": policy}]},
}

test_another_policy_is_replaced if {
	image_pull_policy.patch == {{"path": ["spec", "initContainers", 2, "imagePullPolicy"], "set": "Always"}} with input as pod("CREATE", "IfNotPresent")
}

test_what_is_patched_is_not_patched_again if {
	count(image_pull_policy.patch) == 0 with input as pod("CREATE", "Always")
}

test_a_pod_that_exists_is_left_alone if {
	count(image_pull_policy.patch) == 0 with input as pod("UPDATE", "IfNotPresent")
}
