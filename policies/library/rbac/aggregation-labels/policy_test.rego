package portcullis.rbac.aggregation_labels_test

import data.portcullis.rbac.aggregation_labels

label := "rbac.authorization.k8s.io/aggregate-to-edit"

role(groups) := {
	"object": {"metadata": {"labels": {label: "true"}}, "rules": [{"apiGroups": groups}]},
	"parameters": {"labels": [label], "allowedGroups": ["widgets.example.com"]},
}

test_a_label_is_found if {
	some finding in aggregation_labels.deny with input as role([""])
	finding.path == "metadata.labels[rbac.authorization.k8s.io/aggregate-to-edit]"
	finding.fix == [{"op": "remove", "path": finding.path}]
}

test_allowed_groups_are_fine if count(aggregation_labels.deny) == 0 with input as role(["widgets.example.com"])

test_another_group_beside_them_is_not if count(aggregation_labels.deny) == 1 with input as role(["widgets.example.com", ""])

selecting(selector) := {"object": {"aggregationRule": {"clusterRoleSelectors": [selector]}}, "parameters": {"labels": []}}

test_an_empty_selector_is_found if {
	some finding in aggregation_labels.deny with input as selecting({})
	finding.path == "aggregationRule.clusterRoleSelectors[0]"
}

test_a_selector_that_only_excludes_is_found if {
	count(aggregation_labels.deny) == 1 with input as selecting({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]})
}

test_a_selector_with_a_label_is_fine if {
	count(aggregation_labels.deny) == 0 with input as selecting({"matchLabels": {"a": "true"}})
	count(aggregation_labels.deny) == 0 with input as selecting({"matchExpressions": [{"key": "a", "operator": "Exists"}]})
}

shipped(name, group) := {
	"request": {"resource": {"resource": "clusterroles"}},
	"object": {"metadata": {"name": name, "labels": {label: "true"}}, "rules": [{"apiGroups": [group]}]},
	"parameters": {"labels": [label], "allowedGroups": [], "ownRoles": ["portcullis-secrets-editor"]},
}

test_our_own_role_is_aggregated if {
	count(aggregation_labels.deny) == 0 with input as shipped("portcullis-secrets-editor", "secrets.portcullis.dev")
}

test_our_own_role_is_aggregated_with_our_rights_only if {
	count(aggregation_labels.deny) == 1 with input as shipped("portcullis-secrets-editor", "")
	count(aggregation_labels.deny) == 1 with input as shipped("another", "secrets.portcullis.dev")
}
