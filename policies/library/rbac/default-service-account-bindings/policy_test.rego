package portcullis.rbac.default_service_account_bindings_test

import data.portcullis.rbac.default_service_account_bindings

binding(subjects) := {"object": {"roleRef": {"name": "view"}, "subjects": subjects}}

robot := {"kind": "ServiceAccount", "name": "robot", "namespace": "team"}

group := {"kind": "Group", "name": "default"}

test_the_default_account_is_found if {
	some finding in default_service_account_bindings.deny with input as binding([
		robot,
		{"kind": "ServiceAccount", "name": "default", "namespace": "team"},
		group,
	])
	finding.msg == "service account \"default\" is bound to view"
	finding.path == "subjects[1]"
	finding.fix == [{"op": "remove", "path": "subjects[1]"}]
}

test_it_is_found_by_its_user_name if {
	count(default_service_account_bindings.deny) == 1 with input as binding([{"kind": "User", "name": "system:serviceaccount:team:default"}])
}

test_others_are_fine if count(default_service_account_bindings.deny) == 0 with input as binding([robot, group])
