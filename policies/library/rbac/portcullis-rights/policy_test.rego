package portcullis.rbac.portcullis_rights_test

import data.portcullis.rbac.portcullis_rights

role(groups, resources, verbs) := {
	"object": {"rules": [{"apiGroups": groups, "resources": resources, "verbs": verbs}]},
	"parameters": {"apiGroups": ["runtime.portcullis.dev"]},
}

test_writing_ours_is_found if {
	some finding in portcullis_rights.deny with input as role(["runtime.portcullis.dev"], ["quarantines"], ["get", "delete"])
	finding.msg == "rule 0 grants delete on quarantines in runtime.portcullis.dev"
	finding.fix == [{"op": "set", "path": "rules[0].verbs", "value": ["get"]}]
}

test_wildcards_include_ours if count(portcullis_rights.deny) == 1 with input as role(["*"], ["*"], ["*"])

test_a_named_resource_in_every_group_is_not_ours if {
	count(portcullis_rights.deny) == 0 with input as role(["*"], ["deployments"], ["update"])
}

test_reading_is_fine if count(portcullis_rights.deny) == 0 with input as role(["runtime.portcullis.dev"], ["*"], ["get"])

named(name) := object.union(role(["runtime.portcullis.dev"], ["quarantines"], ["delete"]), {
	"request": {"resource": {"resource": "clusterroles"}},
	"object": {"metadata": {"name": name}},
	"parameters": {"ownRoles": ["portcullis-responder"], "namespaces": ["portcullis-system"]},
})

test_our_own_role_may if count(portcullis_rights.deny) == 0 with input as named("portcullis-responder")

test_a_role_named_like_ours_may_not if count(portcullis_rights.deny) == 1 with input as named("portcullis-responder-2")
