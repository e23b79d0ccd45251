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

test_the_fix_is_one_the_api_server_takes if {
	some finding in privilege_escalation.deny with input as pod("", {
		"privileged": true,
		"capabilities": {"add": ["CHOWN", "CAP_SYS_ADMIN"], "drop": []},
	})
	finding.fix == [
		set_false,
		{"op": "remove", "path": "spec.containers[0].securityContext.privileged"},
		{"op": "remove", "path": "spec.containers[0].securityContext.capabilities.add[1]"},
	]
}

test_false_passes if {
	count(privilege_escalation.deny) == 0 with input as pod("", {"allowPrivilegeEscalation": false})
}

test_windows_is_exempt if {
	count(privilege_escalation.deny) == 0 with input as pod("windows", {})
}
