package portcullis.namespaces.exempt_namespace_guard_test

import data.portcullis.namespaces.exempt_namespace_guard

creating(namespace, user, groups) := {
	"request": {"namespace": namespace, "operation": "CREATE", "resource": {"resource": "pods"}},
	"subject": {"username": user, "groups": groups},
	"parameters": {
		"namespaces": ["portcullis-system"],
		"allowedUsers": ["system:kube-scheduler"],
		"allowedGroups": ["system:nodes"],
	},
}

test_others_may_not if {
	some finding in exempt_namespace_guard.deny with input as creating("portcullis-system", "ada", ["system:authenticated"])
	finding.msg == "\"ada\" may not create pods in the namespace \"portcullis-system\""
}

test_elsewhere_they_may if count(exempt_namespace_guard.deny) == 0 with input as creating("team", "ada", [])

test_allowed_users_and_groups_may if {
	count(exempt_namespace_guard.deny) == 0 with input as creating("portcullis-system", "system:kube-scheduler", [])
	count(exempt_namespace_guard.deny) == 0 with input as creating("portcullis-system", "system:node:a", ["system:nodes"])
}
