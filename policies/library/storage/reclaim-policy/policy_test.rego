package portcullis.storage.reclaim_policy_test

import data.portcullis.storage.reclaim_policy

messages(object, allowed) := result if {
	result := {finding.msg | some finding in reclaim_policy.deny} with input as {"object": object, "parameters": {"allowed": allowed}}
}

test_a_class_that_says_nothing_deletes if {
	messages({"kind": "StorageClass"}, ["Retain"]) == {"the reclaim policy is Delete"}
	messages({"kind": "StorageClass"}, ["Delete"]) == set()
}

test_a_volume_that_says_nothing_retains if {
	messages({"kind": "PersistentVolume", "spec": {}}, ["Retain"]) == set()
	messages({"kind": "PersistentVolume", "spec": {}}, ["Delete"]) == {"the reclaim policy is Retain"}
}
