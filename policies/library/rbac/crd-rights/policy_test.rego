package portcullis.rbac.crd_rights_test

import data.portcullis.rbac.crd_rights

role(rule) := {"object": {"rules": [rule]}}

test_the_right_is_found_once_per_rule if {
	rule := {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions", "others"], "verbs": ["get", "create"]}
	some finding in crd_rights.deny with input as role(rule)
	finding.path == "rules[0].verbs"
	finding.msg == "rule 0 grants create on customresourcedefinitions"
	finding.fix == [{"op": "set", "path": "rules[0].verbs", "value": ["get"]}]
}

test_wildcards_grant_it if {
	count(crd_rights.deny) == 1 with input as role({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})
}

test_another_group_does_not if {
	count(crd_rights.deny) == 0 with input as role({"apiGroups": ["example.com"], "resources": ["*"], "verbs": ["*"]})
}

test_a_role_without_rules_is_fine if {
	count(crd_rights.deny) == 0 with input as {"object": {}}
}

test_a_rule_with_nothing_else_is_removed if {
	some finding in crd_rights.deny with input as role({"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["create"]})
	finding.fix == [{"op": "remove", "path": "rules[0]"}]
}
