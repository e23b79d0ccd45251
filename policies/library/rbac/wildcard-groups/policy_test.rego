package portcullis.rbac.wildcard_groups_test

import data.portcullis.rbac.wildcard_groups

role(groups) := {"object": {"rules": [{"apiGroups": groups, "resources": ["pods"], "verbs": ["get"]}]}}

test_every_group_is_found if {
	some finding in wildcard_groups.deny with input as role(["*"])
	finding.msg == "rule 0 grants get on pods in every API group"
	finding.fix == [{"op": "set", "path": "rules[0].apiGroups", "value": ["replace-with-an-api-group"]}]
}

test_listed_groups_stay if {
	some finding in wildcard_groups.deny with input as role(["apps", "*"])
	finding.fix == [{"op": "set", "path": "rules[0].apiGroups", "value": ["apps"]}]
}

test_the_core_group_is_fine if count(wildcard_groups.deny) == 0 with input as role([""])
