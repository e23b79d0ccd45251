package portcullis.rbac.cluster_admin_bindings_test

import data.portcullis.rbac.cluster_admin_bindings

binding(subjects) := {
	"object": {
		"metadata": {"namespace": "team"},
		"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": subjects,
	},
	"parameters": {
		"roles": ["cluster-admin"],
		"allowedUsers": ["root", "system:serviceaccount:team:robot"],
		"allowedGroups": ["system:masters"],
	},
}

test_each_subject_is_a_finding if {
	findings := cluster_admin_bindings.deny with input as binding([
		{"kind": "User", "name": "ada"},
		{"kind": "Group", "name": "system:masters"},
		{"kind": "Group", "name": "root"},
	])
	{finding.msg | some finding in findings} == {"user \"ada\" is bound to cluster-admin", "group \"root\" is bound to cluster-admin"}
	{finding.fix | some finding in findings} == {[{"op": "remove", "path": "subjects[0]"}], [{"op": "remove", "path": "subjects[2]"}]}
}

test_allowed_subjects_are_fine if {
	count(cluster_admin_bindings.deny) == 0 with input as binding([
		{"kind": "User", "name": "root"},
		{"kind": "ServiceAccount", "name": "robot"},
		{"kind": "ServiceAccount", "name": "robot", "namespace": "team"},
	])
}

test_an_account_of_that_name_elsewhere_is_not_allowed if {
	count(cluster_admin_bindings.deny) == 1 with input as binding([{"kind": "ServiceAccount", "name": "robot", "namespace": "other"}])
}
