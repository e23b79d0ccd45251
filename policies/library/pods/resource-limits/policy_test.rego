package portcullis.pods.resource_limits_test

import data.portcullis.pods.resource_limits

pod(cpu, role, limits) := {
	"parameters": {"cpu": cpu},
	"workload": {"containers": [{"name": "app", "path": "spec.containers[0]", "role": role, "resources": {"limits": limits}}]},
}

memory := {"memory": {"text": "1Mi", "value": 1048576}}

paths contains finding.path if some finding in resource_limits.deny

test_memory_is_always_asked_for if paths == {"spec.containers[0].resources.limits.memory"} with input as pod(false, "app", {})

test_cpu_is_asked_for_by_parameter if {
	count(paths) == 0 with input as pod(false, "app", memory)
	paths == {"spec.containers[0].resources.limits.cpu"} with input as pod(true, "app", memory)
}

test_zero_is_no_limit if {
	paths == {"spec.containers[0].resources.limits.memory"} with input as pod(false, "init", {"memory": {"text": "0", "value": 0}})
	paths == {"spec.containers[0].resources.limits.cpu"} with input as pod(true, "init", object.union(memory, {"cpu": {"text": "0", "milli": 0}}))
}

test_ephemeral_containers_cannot_be_limited if count(paths) == 0 with input as pod(true, "ephemeral", {})

test_limits_of_the_pod_hold_for_its_containers if {
	count(paths) == 0 with input as object.union(pod(false, "app", {}), {"workload": {"resources": {"limits": memory}}})
}
