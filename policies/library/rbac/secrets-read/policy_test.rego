package portcullis.rbac.secrets_read_test

import data.portcullis.rbac.secrets_read

clusterrole(resources, names, roles) := {
	"request": {"resource": {"resource": "clusterroles"}},
	"object": {"rules": [{"apiGroups": [""], "resources": resources, "verbs": ["get"], "resourceNames": names}]},
	"parameters": {"roles": roles},
}

test_all_secrets_are_found if {
	some finding in secrets_read.deny with input as clusterrole(["secrets"], [], false)
	finding.msg == "rule 0 grants get on all secrets"
	finding.fix == [{"op": "set", "path": "rules[0].resourceNames", "value": ["replace-with-a-name"]}]
}

test_other_resources_stay if {
	some finding in secrets_read.deny with input as clusterrole(["pods", "secrets"], [], false)
	finding.fix == [{"op": "set", "path": "rules[0].resources", "value": ["pods"]}]
}

test_every_resource_includes_secrets if {
	some finding in secrets_read.deny with input as clusterrole(["*"], [], false)
	finding.fix == [{"op": "set", "path": "rules[0].resources", "value": ["replace-with-a-resource"]}]
}

test_named_secrets_are_fine if count(secrets_read.deny) == 0 with input as clusterrole(["secrets"], ["a"], false)

test_an_empty_name_is_no_name if count(secrets_read.deny) == 1 with input as clusterrole(["secrets"], [""], false)

test_a_role_is_found_only_if_asked_for if {
	role := {"request": {"resource": {"resource": "roles"}}}
	count(secrets_read.deny) == 1 with input as object.union(clusterrole(["secrets"], [], true), role)
	count(secrets_read.deny) == 0 with input as object.union(clusterrole(["secrets"], [], false), role)
}
