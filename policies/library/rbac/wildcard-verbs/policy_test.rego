package portcullis.rbac.wildcard_verbs_test

import data.portcullis.rbac.wildcard_verbs

role(rule) := {"object": {"rules": [rule]}, "parameters": {"exemptGroups": ["widgets.example.com"]}}

test_every_verb_is_found if {
	some finding in wildcard_verbs.deny with input as role({"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]})
	finding.msg == "rule 0 grants every verb on pods"
	finding.fix == [{"op": "set", "path": "rules[0].verbs", "value": ["get", "list", "watch"]}]
}

test_listed_verbs_stay if {
	some finding in wildcard_verbs.deny with input as role({"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "*"]})
	finding.fix == [{"op": "set", "path": "rules[0].verbs", "value": ["create"]}]
}

test_exempt_groups_are_fine if {
	count(wildcard_verbs.deny) == 0 with input as role({"apiGroups": ["widgets.example.com"], "resources": ["widgets"], "verbs": ["*"]})
}

test_one_exempt_group_among_others_is_not_enough if {
	count(wildcard_verbs.deny) == 1 with input as role({"apiGroups": ["widgets.example.com", ""], "resources": ["pods"], "verbs": ["*"]})
}

test_paths_count_too if {
	some finding in wildcard_verbs.deny with input as role({"nonResourceURLs": ["/metrics"], "verbs": ["*"]})
	finding.msg == "rule 0 grants every verb on /metrics"
}
