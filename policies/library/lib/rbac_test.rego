package portcullis.lib.rbac_test

import data.portcullis.lib.rbac

test_those_keeps_the_order_of_the_list if {
	rbac.those(["watch", "get", "create"], {"get", "watch"}) == "watch, get"
}

test_wildcards_are_found_anywhere if rbac.wildcards(["*", "pods", "*/exec", "pods/*"]) == {"*", "*/exec", "pods/*"}

test_without_keeps_the_other_entries if {
	rbac.without(2, "verbs", ["get", "bind"], {"bind"}, ["list"]) == [{"op": "set", "path": "rules[2].verbs", "value": ["get"]}]
}

test_without_replaces_a_wildcard if {
	rbac.without(0, "verbs", ["*"], {"bind", "*"}, ["list"]) == [{"op": "set", "path": "rules[0].verbs", "value": ["list"]}]
}

test_without_removes_a_rule_of_which_nothing_is_left if {
	rbac.without(1, "verbs", ["bind"], {"bind", "*"}, ["list"]) == [{"op": "remove", "path": "rules[1]"}]
}

test_a_rule_without_names_is_unnamed if {
	rbac.unnamed({})
	rbac.unnamed({"resourceNames": []})
}

test_an_empty_name_is_no_limit if rbac.unnamed({"resourceNames": ["", "a"]})

test_a_named_rule_is_limited if not rbac.unnamed({"resourceNames": ["a"]})

test_a_service_account_without_namespace_is_of_the_binding if {
	rbac.username({"kind": "ServiceAccount", "name": "robot"}, "team") == "system:serviceaccount:team:robot"
	rbac.username({"kind": "ServiceAccount", "name": "robot", "namespace": "ops"}, "team") == "system:serviceaccount:ops:robot"
}

test_a_user_is_itself if rbac.username({"kind": "User", "name": "ada"}, "team") == "ada"

test_a_group_is_no_user if not rbac.username({"kind": "Group", "name": "admins"}, "team")

test_subjects_are_described if {
	rbac.described({"kind": "ServiceAccount", "name": "robot"}) == "service account \"robot\""
	rbac.described({"kind": "Group", "name": "admins"}) == "group \"admins\""
}

own(resource, namespace, name) := {
	"request": {"resource": {"resource": resource}, "namespace": namespace},
	"object": {"metadata": {"name": name}},
}

test_a_cluster_role_of_the_name_is_shipped if rbac.shipped(["ours"], []) with input as own("clusterroles", "", "ours")

test_a_role_is_shipped_in_its_namespace if {
	rbac.shipped(["ours"], ["system"]) with input as own("roles", "system", "ours")
	not rbac.shipped(["ours"], ["system"]) with input as own("roles", "team", "ours")
}

test_another_name_is_not_shipped if not rbac.shipped(["ours"], []) with input as own("clusterroles", "", "ours-too")
