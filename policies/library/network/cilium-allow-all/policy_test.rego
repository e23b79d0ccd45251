package portcullis.network.cilium_allow_all_test

import data.portcullis.network.cilium_allow_all

policy(resource, spec) := {
	"request": {"resource": {"resource": resource}},
	"object": {"spec": spec},
	"parameters": {
		"entities": ["all", "world"], "patterns": ["*"], "allowedPorts": [],
		"widestIPv4": 8, "widestIPv6": 7,
	},
}

namespaced(spec) := policy("ciliumnetworkpolicies", spec)

cluster_wide(spec) := policy("ciliumclusterwidenetworkpolicies", spec)

test_an_entity_is_replaced_in_place if {
	some finding in cilium_allow_all.deny with input as namespaced({"egress": [{"toEntities": ["host", "world"]}]})
	finding == {
		"msg": "toEntities allows the entity \"world\"",
		"path": "spec.egress[0].toEntities[1]",
		"fix": [{"op": "set", "path": "spec.egress[0].toEntities[1]", "value": "health"}],
	}
}

test_an_empty_selector_means_the_own_namespace_unless_cluster_wide if {
	count(cilium_allow_all.deny) == 0 with input as namespaced({"ingress": [{"fromEndpoints": [{}]}]})
	count(cilium_allow_all.deny) == 1 with input as cluster_wide({"ingress": [{"fromEndpoints": [{}]}]})
}

test_the_sides_are_not_added_up if {
	count(cilium_allow_all.deny) == 0 with input as namespaced({
		"ingress": [{"fromCIDR": ["16.0.0.0/8"]}],
		"egress": [{"toCIDR": ["17.0.0.0/8"]}],
	})
}

test_an_empty_rule_allows_nothing if {
	count(cilium_allow_all.deny) == 0 with input as namespaced({"ingress": [{}], "egress": [{}]})
}

test_an_empty_list_of_peers_allows_nothing if {
	count(cilium_allow_all.deny) == 0 with input as namespaced({"ingress": [{"fromEndpoints": [], "toPorts": [{"ports": [{"port": "80"}]}]}]})
}
