package portcullis.rbac.webhook_config_rights_test

import data.portcullis.rbac.webhook_config_rights

role(rule) := {"object": {"rules": [rule]}}

test_the_right_is_found_once_per_rule if {
	rule := {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations", "others"], "verbs": ["get", "create"]}
	some finding in webhook_config_rights.deny with input as role(rule)
	finding.path == "rules[0].verbs"
	finding.msg == "rule 0 grants create on validatingwebhookconfigurations"
	finding.fix == [{"op": "set", "path": "rules[0].verbs", "value": ["get"]}]
}

test_wildcards_grant_it if {
	count(webhook_config_rights.deny) == 1 with input as role({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})
}

test_another_group_does_not if {
	count(webhook_config_rights.deny) == 0 with input as role({"apiGroups": ["example.com"], "resources": ["*"], "verbs": ["*"]})
}

test_a_role_without_rules_is_fine if {
	count(webhook_config_rights.deny) == 0 with input as {"object": {}}
}

test_a_rule_with_nothing_else_is_removed if {
	some finding in webhook_config_rights.deny with input as role({"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"], "verbs": ["create"]})
	finding.fix == [{"op": "remove", "path": "rules[0]"}]
}

ours(rule) := {
	"request": {"resource": {"resource": "clusterroles"}},
	"object": {"metadata": {"name": "portcullis-controller"}, "rules": [object.union({"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"]}, rule)]},
	"parameters": {"ownRoles": ["portcullis-controller"]},
}

test_our_own_role_may_create if count(webhook_config_rights.deny) == 0 with input as ours({"verbs": ["create"]})

test_our_own_role_may_change_its_own if {
	count(webhook_config_rights.deny) == 0 with input as ours({"verbs": ["update"], "resourceNames": ["portcullis"]})
}

test_our_own_role_may_not_change_those_of_others if {
	count(webhook_config_rights.deny) == 1 with input as ours({"verbs": ["update"]})
	count(webhook_config_rights.deny) == 1 with input as ours({"verbs": ["update"], "resourceNames": ["portcullis", "cert-manager"]})
	count(webhook_config_rights.deny) == 1 with input as ours({"verbs": ["create"], "resources": ["*"]})
}
