package portcullis.rbac.pod_exec_test

import data.portcullis.rbac.pod_exec

role(resources, verbs) := {
	"object": {"rules": [{"apiGroups": [""], "resources": resources, "verbs": verbs}]},
	"parameters": {"subresources": ["exec", "ephemeralcontainers"]},
}

test_exec_is_found if {
	some finding in pod_exec.deny with input as role(["pods", "pods/exec"], ["create"])
	finding.msg == "rule 0 grants create on pods/exec"
	finding.fix == [{"op": "set", "path": "rules[0].resources", "value": ["pods"]}]
}

test_all_entrances_of_a_rule_are_one_finding if {
	count(pod_exec.deny) == 1 with input as role(["pods/exec", "pods/ephemeralcontainers"], ["create", "patch"])
}

test_wildcard_forms_are_found if {
	every resource in ["*", "*/exec", "pods/*"] {
		count(pod_exec.deny) == 1 with input as role([resource], ["create"])
	}
}

test_reading_logs_is_fine if count(pod_exec.deny) == 0 with input as role(["pods/log"], ["get"])

test_reading_ephemeral_containers_is_fine if {
	count(pod_exec.deny) == 0 with input as role(["pods/ephemeralcontainers"], ["get"])
}
