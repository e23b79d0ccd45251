package portcullis.patch.no_privilege_escalation_test

import data.portcullis.patch.no_privilege_escalation

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
	no_privilege_escalation.patch == {{"path": ["spec", "containers", 0, "securityContext", "allowPrivilegeEscalation"], "setIfAbsent": false}} with input as created("", {})
}

test_only_the_new_ephemeral_container_is_patched if {
	no_privilege_escalation.patch == {{"path": ["spec", "ephemeralContainers", 1, "securityContext", "allowPrivilegeEscalation"], "setIfAbsent": false}} with input as debugged({})
}

test_windows_is_left_alone if {
	count(no_privilege_escalation.patch) == 0 with input as created("windows", {})
}

test_a_mirror_pod_is_left_alone if {
	count(no_privilege_escalation.patch) == 0 with input as object.union(created("", {}), {"workload": {"mirror": true}})
}

test_a_container_that_asks_for_it_keeps_it if {
	count(no_privilege_escalation.patch) == 0 with input as created("", {"allowPrivilegeEscalation": true})
}

test_privileged_containers_are_left_alone if {
	count(no_privilege_escalation.patch) == 0 with input as created("", {"privileged": true})
}

test_sys_admin_is_left_alone if {
	count(no_privilege_escalation.patch) == 0 with input as created("", {"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}})
}

test_sys_admin_with_prefix_is_left_alone if {
	count(no_privilege_escalation.patch) == 0 with input as created("", {"capabilities": {"add": ["CAP_SYS_ADMIN"]}})
}

test_all_capabilities_are_left_alone if {
	count(no_privilege_escalation.patch) == 0 with input as created("", {"capabilities": {"add": ["ALL"]}})
}
