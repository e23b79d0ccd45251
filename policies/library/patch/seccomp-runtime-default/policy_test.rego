package portcullis.patch.seccomp_runtime_default_test

import data.portcullis.patch.seccomp_runtime_default

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

annotated(value) := object.union(created("", {}), {"workload": {"annotations": [{"key": "seccomp.security.alpha.kubernetes.io/pod", "value": value}]}})

test_a_pod_that_says_nothing_is_patched_once_for_all_containers if {
	seccomp_runtime_default.patch == {{"path": ["spec", "securityContext", "seccompProfile"], "set": {"type": "RuntimeDefault"}}} with input as created("", {})
}

test_only_the_new_ephemeral_container_is_patched_and_not_the_pod if {
	seccomp_runtime_default.patch == {{
		"path": ["spec", "ephemeralContainers", 1, "securityContext", "seccompProfile"],
		"set": {"type": "RuntimeDefault"},
	}} with input as debugged({})
}

test_any_profile_stays if {
	count(seccomp_runtime_default.patch) == 0 with input as created("", {"seccompProfile": {"type": "Unconfined"}})
	count(seccomp_runtime_default.patch) == 0 with input as debugged({"seccompProfile": {"type": "Unconfined"}})
}

test_windows_is_left_alone if {
	count(seccomp_runtime_default.patch) == 0 with input as created("windows", {})
}

test_a_mirror_pod_is_left_alone if {
	count(seccomp_runtime_default.patch) == 0 with input as object.union(created("", {}), {"workload": {"mirror": true}})
}

test_an_annotation_that_contradicts_is_left_alone if {
	count(seccomp_runtime_default.patch) == 0 with input as annotated("unconfined")
	count(seccomp_runtime_default.patch) == 0 with input as annotated("localhost/shop.json")
}

test_an_annotation_that_agrees_does_not_hinder if {
	count(seccomp_runtime_default.patch) == 1 with input as annotated("runtime/default")
	count(seccomp_runtime_default.patch) == 1 with input as annotated("docker/default")
}
