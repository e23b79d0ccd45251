package portcullis.lib.patching_test

import data.portcullis.lib.patching

test_a_new_pod_brings_all_its_containers if {
	patching.brings("spec.initContainers[0]", "setup") with input as {"request": {"operation": "CREATE"}, "workload": {"mirror": false}}
}

test_a_mirror_pod_brings_nothing if {
	not patching.brings("spec.containers[0]", "etcd") with input as {"request": {"operation": "CREATE"}, "workload": {"mirror": true}}
}

test_an_update_brings_no_container if {
	not patching.brings("spec.containers[0]", "app") with input as {"request": {"operation": "UPDATE", "subresource": ""}}
}

debugging := {
	"request": {"operation": "UPDATE", "subresource": "ephemeralcontainers"},
	"workload": {"mirror": false},
	"oldObject": {"spec": {"ephemeralContainers": [{"name": "first"}]}},
}

test_debugging_brings_the_new_ephemeral_container if {
	patching.brings("spec.ephemeralContainers[1]", "second") with input as debugging
}

test_debugging_leaves_ephemeral_containers_that_were_there if {
	not patching.brings("spec.ephemeralContainers[0]", "first") with input as debugging
}

test_debugging_leaves_other_containers if {
	not patching.brings("spec.containers[0]", "app") with input as debugging
}

test_the_first_ephemeral_container_is_new if {
	patching.brings("spec.ephemeralContainers[0]", "first") with input as object.union(debugging, {"oldObject": {"spec": {"ephemeralContainers": []}}})
}

test_segments_of_a_container if {
	patching.segments("spec.containers[0].image") == ["spec", "containers", 0, "image"]
}

test_segments_of_a_key_in_brackets if {
	patching.segments("metadata.annotations[example.com/team]") == ["metadata", "annotations", "example.com/team"]
}

test_a_key_of_digits_outside_brackets_stays_a_key if {
	patching.segments("spec.roles.0") == ["spec", "roles", "0"]
}
