package portcullis.rbac.wildcard_resources_test

import data.portcullis.rbac.wildcard_resources

role(rule) := {"object": {"rules": [rule]}, "parameters": {"exemptGroups": ["widgets.example.com"]}}

test_every_resource_is_found if {
	some finding in wildcard_resources.deny with input as role({"apiGroups": [""], "resources": ["*"], "verbs": ["get"]})
	finding.msg == "rule 0 grants get on the resources *"
	finding.fix == [{"op": "set", "path": "rules[0].resources", "value": ["replace-with-a-resource"]}]
}

test_subresource_wildcards_are_found_once if {
	findings := wildcard_resources.deny with input as role({"apiGroups": [""], "resources": ["*/exec", "pods", "pods/*"], "verbs": ["get"]})
	{finding.msg | some finding in findings} == {"rule 0 grants get on the resources */exec, pods/*"}
	{finding.fix | some finding in findings} == {[{"op": "set", "path": "rules[0].resources", "value": ["pods"]}]}
}

test_every_path_is_found if {
	count(wildcard_resources.deny) == 1 with input as role({"nonResourceURLs": ["*"], "verbs": ["get"]})
}

test_a_path_prefix_is_fine if {
	count(wildcard_resources.deny) == 0 with input as role({"nonResourceURLs": ["/healthz/*"], "verbs": ["get"]})
}

test_exempt_groups_are_fine if {
	count(wildcard_resources.deny) == 0 with input as role({"apiGroups": ["widgets.example.com"], "resources": ["*"], "verbs": ["get"]})
}
