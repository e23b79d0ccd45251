package portcullis.rbac.nodes_proxy_test

import data.portcullis.rbac.nodes_proxy

role(resources, group) := {"object": {"rules": [{"apiGroups": [group], "resources": resources, "verbs": ["get"]}]}}

test_the_proxy_is_found if {
	some finding in nodes_proxy.deny with input as role(["nodes", "nodes/proxy"], "")
	finding.msg == "rule 0 grants get on nodes/proxy"
	finding.fix == [{"op": "set", "path": "rules[0].resources", "value": ["nodes"]}]
}

test_wildcard_forms_are_found if {
	every resource in ["*", "*/proxy", "nodes/*"] {
		count(nodes_proxy.deny) == 1 with input as role([resource], "")
	}
}

test_metrics_are_fine if count(nodes_proxy.deny) == 0 with input as role(["nodes/metrics"], "")

test_another_group_is_fine if count(nodes_proxy.deny) == 0 with input as role(["nodes/proxy"], "metrics.k8s.io")
