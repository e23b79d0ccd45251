package portcullis.rbac.impersonate_test

import data.portcullis.rbac.impersonate

rule(group, resource, verb, names) := {"apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": names}

role(rule) := {"object": {"rules": [rule]}, "parameters": {"protectedIdentities": ["system:masters"]}}

test_impersonating_anybody_is_found if {
	some finding in impersonate.deny with input as role(rule("", "users", "impersonate", []))
	finding.msg == "rule 0 grants impersonate on users without resourceNames"
	finding.fix == [{"op": "remove", "path": "rules[0]"}]
}

test_impersonating_a_protected_group_is_found if {
	some finding in impersonate.deny with input as role(rule("", "groups", "impersonate", ["system:masters"]))
	finding.msg == "rule 0 grants impersonate on groups named system:masters"
}

test_impersonating_a_named_user_is_fine if {
	count(impersonate.deny) == 0 with input as role(rule("", "users", "impersonate", ["ada"]))
}

test_every_verb_on_service_accounts_includes_it if {
	count(impersonate.deny) == 1 with input as role(rule("", "serviceaccounts", "*", []))
}

test_every_verb_on_nodes_does_not if count(impersonate.deny) == 0 with input as role(rule("", "nodes", "*", []))

test_extra_fields_and_constrained_verbs_count if {
	count(impersonate.deny) == 1 with input as role(rule("authentication.k8s.io", "userextras/scopes", "impersonate", []))
	count(impersonate.deny) == 1 with input as role(rule("authentication.k8s.io", "nodes", "impersonate:arbitrary-node", []))
}
