package portcullis.patch.drop_all_capabilities_test

import data.portcullis.patch.drop_all_capabilities

created(os, context) := {
	"request": {"operation": "CREATE", "subresource": ""},
	"workload": {"mirror": false, "os": os, "annotations": [], "containers": [{
		"name": "app",
		"path": "spec.containers[0]",
		"securityContext": object.union({"privileged": false, "readOnlyRootFilesystem": false, "capabilities": {"add": [], "drop": []}}, context),
	}]},
}

# A new ephemeral container in a pod that has one, with the same security context.
debugged(context) := object.union(created("", context), {
	"request": {"operation": "UPDATE", "subresource": "ephemeralcontainers"},
	"workload": {"containers": [container |
		some i, name in ["first", "second"]
		container := object.union(created("", context).workload.containers[0], {"name": name, "path": sprintf("spec.ephemeralContainers[%d]", [i])})
	]},
	"oldObject": {"spec": {"ephemeralContainers": [{"name": "first"}]}},
})

test_a_container_that_says_nothing_is_patched if {
	drop_all_capabilities.patch == {{"path": ["spec", "containers", 0, "securityContext", "capabilities", "drop"], "set": ["ALL"]}} with input as created("", {})
}

test_only_the_new_ephemeral_container_is_patched if {
	drop_all_capabilities.patch == {{"path": ["spec", "ephemeralContainers", 1, "securityContext", "capabilities", "drop"], "set": ["ALL"]}} with input as debugged({})
}

test_windows_is_left_alone if {
	count(drop_all_capabilities.patch) == 0 with input as created("windows", {})
}

test_a_mirror_pod_is_left_alone if {
	count(drop_all_capabilities.patch) == 0 with input as object.union(created("", {}), {"workload": {"mirror": true}})
}

test_what_is_patched_is_not_patched_again if {
	count(drop_all_capabilities.patch) == 0 with input as created("", {"capabilities": {"drop": ["ALL"]}})
}

test_privileged_containers_are_left_alone if {
	count(drop_all_capabilities.patch) == 0 with input as created("", {"privileged": true})
}

test_a_container_that_drops_some_drops_all if {
	count(drop_all_capabilities.patch) == 1 with input as created("", {"capabilities": {"drop": ["NET_RAW", "all"]}})
}
