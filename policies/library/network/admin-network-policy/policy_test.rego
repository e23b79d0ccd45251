package portcullis.network.admin_network_policy_test

import data.portcullis.network.admin_network_policy

policy(spec) := {"object": {"spec": spec}, "parameters": {"widestIPv4": 8, "widestIPv6": 7}}

test_the_rule_passes_after_the_fix if {
	some finding in admin_network_policy.deny with input as policy({"ingress": [{"action": "Allow", "from": [{"namespaces": {}}]}]})
	finding == {
		"msg": "spec.ingress[0] allows every namespace before any NetworkPolicy is asked",
		"path": "spec.ingress[0].action",
		"fix": [{"op": "set", "path": "spec.ingress[0].action", "value": "Pass"}],
	}
}

test_every_protocol_may_have_a_single_port if {
	every protocol in ["tcp", "udp", "sctp"] {
		count(admin_network_policy.deny) == 0 with input as policy({"ingress": [{
			"action": "Accept", "from": [{"namespaces": {}}],
			"protocols": [{protocol: {"destinationPort": {"number": 53}}}],
		}]})
	}
}

test_one_open_port_among_single_ones_is_too_much if {
	count(admin_network_policy.deny) == 1 with input as policy({"ingress": [{
		"action": "Accept", "from": [{"namespaces": {}}],
		"protocols": [{"udp": {"destinationPort": {"number": 53}}}, {"tcp": {}}],
	}]})
}

test_networks_of_passing_rules_do_not_count if {
	count(admin_network_policy.deny) == 0 with input as policy({"egress": [
		{"action": "Allow", "to": [{"networks": ["16.0.0.0/8"]}]},
		{"action": "Pass", "to": [{"networks": ["17.0.0.0/8"]}]},
	]})
}
