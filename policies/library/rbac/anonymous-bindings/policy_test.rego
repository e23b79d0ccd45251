package portcullis.rbac.anonymous_bindings_test

import data.portcullis.rbac.anonymous_bindings

binding(subjects, role) := {
	"object": {"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects},
	"parameters": {"allowedRoles": ["system:public-info-viewer"]},
}

test_anonymous_users_are_found if {
	findings := anonymous_bindings.deny with input as binding(
		[
			{"kind": "User", "name": "system:anonymous"},
			{"kind": "Group", "name": "system:unauthenticated"},
			{"kind": "User", "name": "ada"},
		],
		"view",
	)
	count(findings) == 2
	{finding.path | some finding in findings} == {"subjects[0]", "subjects[1]"}
}

test_a_group_of_that_name_is_somebody_else if {
	count(anonymous_bindings.deny) == 0 with input as binding([{"kind": "Group", "name": "system:anonymous"}], "view")
}

test_public_information_is_fine if {
	count(anonymous_bindings.deny) == 0 with input as binding([{"kind": "Group", "name": "system:unauthenticated"}], "system:public-info-viewer")
}
