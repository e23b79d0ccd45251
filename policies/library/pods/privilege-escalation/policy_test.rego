package portcullis.pods.privilege_escalation_test

import data.portcullis.pods.privilege_escalation

pod(os, security_context) := {"workload": {"os": os, "containers": [{
	"name": "app",
	"path": "spec.containers[0]",
	"securityContext": object.union({"privileged": false, "capabilities": {"add": [], "drop": []}}, security_context),
}]}}

set_false := {"op": "set", "path": "spec.containers[0].securityContext.allowPrivilegeEscalation", "value": false}

test_a_container_that_says_nothing_is_refused if {
	privilege_escalation.deny == {{
		"msg": `container "app" does not forbid privilege escalation`,
		"path": "spec.containers[0].securityContext.allowPrivilegeEscalation",
		"fix": [set_false],
	}} with input as pod("", {})
}

test_a_container_that_asks_for_it_is_refused if {
	count(privilege_escalation.deny) == 1 with input as pod("linux", {"allowPrivilegeEscalation": true})
}

test_of_a_privileged_container_the_fix_removes_that_too if {
	privilege_escalation.deny == {{
		"msg": `container "app" is privileged, which includes privilege escalation`,
		"path": "spec.containers[0].securityContext.allowPrivilegeEscalation",
		"fix": [set_false, {"op": "remove", "path": "spec.containers[0].securityContext.privileged"}],
	}} with input as pod("", {"privileged": true})
}

test_of_a_container_with_cap_sys_admin_the_fix_removes_that_too if {
	privilege_escalation.deny == {{
		"msg": `container "app" adds CAP_SYS_ADMIN, which includes privilege escalation`,
		"path": "spec.containers[0].securityContext.allowPrivilegeEscalation",
		"fix": [set_false, {"op": "remove", "path": "spec.containers[0].securityContext.capabilities.add[1]"}],
	}} with input as pod("", {"capabilities": {"add": ["CHOWN", "CAP_SYS_ADMIN"]}})
}

test_false_passes if {
	count(privilege_escalation.deny) == 0 with input as pod("", {"allowPrivilegeEscalation": false})
}

test_windows_is_exempt if {
	count(privilege_escalation.deny) == 0 with input as pod("windows", {})
	count(privilege_escalation.deny) == 0 with input as pod("windows", {"privileged": true, "capabilities": {"add": ["CAP_SYS_ADMIN"]}})
}
