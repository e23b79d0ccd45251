package portcullis.rbac.authenticated_bindings_test

import data.portcullis.rbac.authenticated_bindings

binding(subjects, role) := {
	"object": {"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects},
	"parameters": {"groups": ["system:authenticated"], "allowedRoles": ["system:discovery"]},
}

test_everybody_is_found if {
	some finding in authenticated_bindings.deny with input as binding(
		[
			{"kind": "User", "name": "ada"},
			{"kind": "Group", "name": "system:authenticated"},
		],
		"view",
	)
	finding.msg == "group \"system:authenticated\" is bound to view"
	finding.path == "subjects[1]"
	finding.fix == [{"op": "remove", "path": "subjects[1]"}]
}

test_a_user_of_that_name_is_somebody if {
	count(authenticated_bindings.deny) == 0 with input as binding([{"kind": "User", "name": "system:authenticated"}], "view")
}

test_discovery_is_fine if {
	count(authenticated_bindings.deny) == 0 with input as binding([{"kind": "Group", "name": "system:authenticated"}], "system:discovery")
}
