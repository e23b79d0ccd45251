package portcullis.rbac.token_create_test

import data.portcullis.rbac.token_create

role(resources, names) := {"object": {"rules": [{"apiGroups": [""], "resources": resources, "verbs": ["create"], "resourceNames": names}]}}

test_tokens_of_any_account_are_found if {
	some finding in token_create.deny with input as role(["serviceaccounts/token"], [])
	finding.msg == "rule 0 grants create on serviceaccounts/token without resourceNames"
	finding.fix == [{"op": "set", "path": "rules[0].resourceNames", "value": ["replace-with-a-name"]}]
}

test_other_resources_stay if {
	some finding in token_create.deny with input as role(["serviceaccounts", "serviceaccounts/token"], [])
	finding.fix == [{"op": "set", "path": "rules[0].resources", "value": ["serviceaccounts"]}]
}

test_wildcard_forms_are_found if {
	every resource in ["*", "*/token", "serviceaccounts/*"] {
		count(token_create.deny) == 1 with input as role([resource], [])
	}
}

test_named_accounts_are_fine if count(token_create.deny) == 0 with input as role(["serviceaccounts/token"], ["robot"])
