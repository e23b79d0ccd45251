package portcullis.rbac.grant_escalation_test

import data.portcullis.rbac.grant_escalation

clusterrole(name, rules) := {
	"resource": "clusterroles",
	"kind": "ClusterRole",
	"name": name,
	"namespace": "",
	"object": {"rules": rules},
}

bound(subject, role) := {
	"resource": "clusterrolebindings",
	"kind": "ClusterRoleBinding",
	"name": "author",
	"namespace": "",
	"object": {"subjects": [subject], "roleRef": {"kind": "ClusterRole", "name": role}},
}

ada := {"kind": "User", "name": "ada"}

binding(has, grants) := {
	"request": {"namespace": ""},
	"subject": {"username": "ada", "groups": ["developers"]},
	"object": {"roleRef": {"kind": "ClusterRole", "name": "target"}, "subjects": [ada]},
	"parameters": {"allowNamedBind": true, "allowedUsers": [], "allowedGroups": [], "maxRights": 100},
	"cluster": [clusterrole("author", has), clusterrole("target", grants), bound(ada, "author")],
}

rule(group, resources, verbs) := {"apiGroups": [group], "resources": resources, "verbs": verbs}

test_a_binding_that_grants_more_names_what_is_missing if {
	some finding in grant_escalation.deny with input as binding(
		[rule("", ["pods"], ["get"])],
		[rule("", ["pods"], ["get", "list"]), rule("apps", ["deployments"], ["get"])],
	)
	finding.msg == "binds ClusterRole target, of whose rights \"ada\" lacks 2: get deployments.apps, list pods"
	finding.path == "roleRef"
	finding.details.missing == ["get deployments.apps", "list pods"]
}

test_a_long_list_is_cut if {
	some finding in grant_escalation.deny with input as binding([], [rule("", ["pods"], ["get", "list", "watch", "create", "delete"])])
	finding.msg == "binds ClusterRole target, of whose rights \"ada\" lacks 5: create pods, delete pods, get pods"
}

test_what_the_author_holds_is_granted if {
	count(grant_escalation.deny) == 0 with input as binding(
		[rule("", ["pods"], ["get"]), rule("apps", ["*"], ["*"])],
		[rule("", ["pods"], ["get"]), rule("apps", ["deployments", "deployments/scale"], ["update"])],
	)
}

# Rows of Kubernetes' own TestCovers (k8s.io/component-helpers/auth/rbac/validation).
covers(has, grants) if count(grant_escalation.deny) == 0 with input as binding(has, grants)

test_two_rules_together_cover if {
	covers([rule("v1", ["pods"], ["get"]), rule("v1", ["pods"], ["delete"])], [rule("v1", ["pods"], ["get", "delete"])])
}

test_subresource_wildcards_cover_subresources_only if {
	covers([rule("", ["*/scale"], ["get"])], [rule("", ["foo/scale"], ["get"])])
	not covers([rule("", ["*/scale"], ["get"])], [rule("", ["foo"], ["get"])])
	not covers([rule("", ["foo/*"], ["get"])], [rule("", ["foo/scale"], ["get"])])
	not covers([rule("", ["foo"], ["get"])], [rule("", ["*/scale"], ["get"])])
	covers([rule("", ["*/scale"], ["get"])], [rule("", ["*/scale"], ["get"])])
}

test_a_wildcard_is_covered_by_a_wildcard_only if {
	not covers([rule("", ["a", "b"], ["get"])], [rule("", ["*"], ["get"])])
	not covers([rule("", ["a"], ["get", "list"])], [rule("", ["a"], ["*"])])
	not covers([rule("apps", ["a"], ["get"])], [rule("*", ["a"], ["get"])])
}

test_names_cover_names if {
	one := object.union(rule("", ["a"], ["get"]), {"resourceNames": ["x"]})
	two := object.union(rule("", ["a"], ["get"]), {"resourceNames": ["x", "y"]})
	covers([two], [one])
	covers([rule("", ["a"], ["get"])], [two])
	not covers([one], [two])
	not covers([one], [rule("", ["a"], ["get"])])
}

path(p) := {"nonResourceURLs": [p], "verbs": ["get"]}

test_paths if {
	covers([path("/apis/*")], [path("/apis/foo")])
	covers([path("*")], [path("/apis")])
	covers([path("/apis/*")], [path("/apis/*")])
	not covers([path("/apis")], [path("/apis/foo")])
	not covers([path("/apis/foo")], [path("/apis/*")])
}

# The way round: five kilobytes of a role kept an evaluation busy until its deadline.
test_a_role_of_too_many_rights_is_not_compared if {
	many := [sprintf("r%d", [i]) | some i in [1, 2, 3, 4, 5]]
	huge := {"apiGroups": many, "resources": many, "verbs": many}
	some finding in grant_escalation.deny with input as binding([rule("*", ["*"], ["*"])], [huge])
	finding.msg == "binds ClusterRole target, which stands for more than 100 rights, too many to compare with those of \"ada\""
}

test_names_and_paths_count_as_rights if {
	names := [sprintf("n%d", [i]) | some i in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]
	named := {"apiGroups": [""], "resources": names, "verbs": ["get"], "resourceNames": names}
	count(grant_escalation.deny) == 1 with input as binding([rule("*", ["*"], ["*"])], [named])
	paths := {"nonResourceURLs": names, "verbs": names}
	count(grant_escalation.deny) == 1 with input as binding([{"nonResourceURLs": ["*"], "verbs": ["*"]}], [paths])
	count(grant_escalation.deny) == 0 with input as binding([rule("*", ["*"], ["*"])], [object.union(named, {"verbs": []})])
}
