package portcullis.lib.isolation_test

import data.portcullis.lib.isolation

namespaced(namespace, spec) := {
	"request": {"namespace": "shop"},
	"cluster": [{
		"group": "networking.k8s.io", "resource": "networkpolicies",
		"namespace": namespace, "object": {"spec": spec},
	}],
}

test_an_empty_policy_denies_ingress if {
	isolation.denied("Ingress") with input as namespaced("shop", {"podSelector": {}})
	not isolation.denied("Egress") with input as namespaced("shop", {"podSelector": {}})
}

test_policy_types_count if {
	isolation.denied("Egress") with input as namespaced("shop", {"podSelector": {}, "policyTypes": ["Egress"]})
	not isolation.denied("Ingress") with input as namespaced("shop", {"podSelector": {}, "policyTypes": ["Egress"]})
}

test_egress_rules_imply_the_type if {
	isolation.denied("Egress") with input as namespaced("shop", {"egress": [{"to": [{"podSelector": {}}]}]})
}

test_a_policy_of_some_pods_is_not_enough if {
	not isolation.denied("Ingress") with input as namespaced("shop", {"podSelector": {"matchLabels": {"app": "web"}}})
}

test_a_policy_of_another_namespace_is_not_enough if {
	not isolation.denied("Ingress") with input as namespaced("stock", {"podSelector": {}})
}

test_a_rule_without_peers_opens_again if {
	not isolation.denied("Ingress") with input as namespaced("shop", {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]})
	not isolation.denied("Egress") with input as namespaced("shop", {"podSelector": {}, "egress": [{"to": []}]})
}

test_a_rule_with_peers_does_not if {
	isolation.denied("Ingress") with input as namespaced("shop", {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]})
}
