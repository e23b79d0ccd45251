package portcullis.network.allow_all_egress_test

import data.portcullis.network.allow_all_egress

policy(rules) := {
	"object": {"spec": {"egress": rules}},
	"parameters": {"allowedPorts": [443], "widestIPv4": 8, "widestIPv6": 7},
}

test_a_rule_without_peers_is_fixed_with_the_own_namespace if {
	some finding in allow_all_egress.deny with input as policy([{}])
	finding == {
		"msg": "egress rule 0 names no peers, which allows all destinations",
		"path": "spec.egress[0].to",
		"fix": [{"op": "set", "path": "spec.egress[0].to", "value": [{"podSelector": {}}]}],
	}
}

test_the_offending_peer_is_named if {
	some finding in allow_all_egress.deny with input as policy([{"to": [{"podSelector": {}}, {"namespaceSelector": {}}]}])
	finding.path == "spec.egress[0].to[1]"
}

test_each_block_that_makes_up_the_whole_is_a_finding if {
	findings := allow_all_egress.deny with input as policy([
		{"to": [{"ipBlock": {"cidr": "0.0.0.0/1"}}]},
		{"to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}, {"ipBlock": {"cidr": "128.0.0.0/1"}}]},
	])
	{finding.msg | some finding in findings} == {
		"egress rule 0 allows 0.0.0.0/1, which is or adds up to 0.0.0.0/0",
		"egress rule 1 allows 10.0.0.0/24, which is or adds up to 0.0.0.0/0",
		"egress rule 1 allows 128.0.0.0/1, which is or adds up to 0.0.0.0/0",
	}
}

test_blocks_of_rules_for_allowed_ports_do_not_count if {
	count(allow_all_egress.deny) == 0 with input as policy([
		{"to": [{"ipBlock": {"cidr": "0.0.0.0/1"}}], "ports": [{"port": 443}]},
		{"to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}]},
	])
}

test_a_policy_without_rules_is_fine if {
	count(allow_all_egress.deny) == 0 with input as policy([])
}
