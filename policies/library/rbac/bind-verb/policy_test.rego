package portcullis.rbac.bind_verb_test

import data.portcullis.rbac.bind_verb

rule(verbs, names) := {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": verbs, "resourceNames": names}

role(rule) := {"object": {"rules": [rule]}, "parameters": {"protectedRoles": ["cluster-admin"]}}

test_bind_without_names_is_found if {
	some finding in bind_verb.deny with input as role(rule(["get", "bind"], []))
	finding.msg == "rule 0 grants bind on clusterroles without resourceNames"
	finding.fix == [{"op": "set", "path": "rules[0].verbs", "value": ["get"]}]
}

test_bind_of_a_protected_role_is_found if {
	some finding in bind_verb.deny with input as role(rule(["bind"], ["view", "cluster-admin"]))
	finding.msg == "rule 0 grants bind on clusterroles named cluster-admin"
}

test_bind_of_named_roles_is_fine if count(bind_verb.deny) == 0 with input as role(rule(["bind"], ["view"]))

test_a_wildcard_grants_it if count(bind_verb.deny) == 1 with input as role(rule(["*"], []))
