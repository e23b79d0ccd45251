package portcullis.rbac.escalate_verb_test

import data.portcullis.rbac.escalate_verb

role(rule) := {"object": {"rules": [rule]}}

test_the_right_is_found_once_per_rule if {
	rule := {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "others"], "verbs": ["get", "escalate"]}
	some finding in escalate_verb.deny with input as role(rule)
	finding.path == "rules[0].verbs"
	finding.msg == "rule 0 grants escalate on roles"
	finding.fix == [{"op": "set", "path": "rules[0].verbs", "value": ["get"]}]
}

test_wildcards_grant_it if {
	count(escalate_verb.deny) == 1 with input as role({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})
}

test_another_group_does_not if {
	count(escalate_verb.deny) == 0 with input as role({"apiGroups": ["example.com"], "resources": ["*"], "verbs": ["*"]})
}

test_a_role_without_rules_is_fine if {
	count(escalate_verb.deny) == 0 with input as {"object": {}}
}

test_a_rule_with_nothing_else_is_removed if {
	some finding in escalate_verb.deny with input as role({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"]})
	finding.fix == [{"op": "remove", "path": "rules[0]"}]
}
