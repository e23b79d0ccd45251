package portcullis.pods.se_linux_test

import data.portcullis.pods.se_linux

options(changes, path) := {"seLinuxOptions": object.union({"type": "", "user": "", "role": "", "level": "", "path": path}, changes)}

pod(security_context, containers) := {
	"parameters": {"types": ["container_t"]},
	"workload": {"securityContext": security_context, "containers": containers},
}

own(changes) := [{"securityContext": options(changes, "spec.containers[0].securityContext.seLinuxOptions")}]

inherited(changes) := options(changes, "spec.securityContext.seLinuxOptions")

paths := {finding.path | some finding in se_linux.deny}

test_a_type_that_is_not_confined_is_refused if {
	se_linux.deny == {{
		"msg": `SELinux type "spc_t" is not allowed`,
		"path": "spec.containers[0].securityContext.seLinuxOptions.type",
		"fix": [{"op": "remove", "path": "spec.containers[0].securityContext.seLinuxOptions.type"}],
	}} with input as pod({}, own({"type": "spc_t"}))
}

test_users_and_roles_are_refused_whatever_they_are if {
	paths == {
		"spec.containers[0].securityContext.seLinuxOptions.user",
		"spec.containers[0].securityContext.seLinuxOptions.role",
	} with input as pod({}, own({"user": "system_u", "role": "system_r"}))
}

test_options_of_the_pod_count_even_if_overridden if {
	paths == {
		"spec.securityContext.seLinuxOptions.type",
		"spec.securityContext.seLinuxOptions.user",
		"spec.securityContext.seLinuxOptions.role",
	} with input as pod(inherited({"type": "spc_t", "user": "u", "role": "r"}), own({"type": "container_t"}))
}

test_what_two_containers_inherit_is_one_finding if {
	bad := inherited({"type": "spc_t"})
	count(se_linux.deny) == 1 with input as pod(bad, [{"securityContext": bad}, {"securityContext": bad}])
}

test_confined_types_and_levels_pass if {
	count(se_linux.deny) == 0 with input as pod(inherited({"level": "s0:c1,c2"}), own({"type": "container_t", "level": "s0:c3"}))
}

test_no_options_pass if {
	count(se_linux.deny) == 0 with input as pod({}, [{"securityContext": {}}])
}
