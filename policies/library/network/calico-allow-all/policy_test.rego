package portcullis.network.calico_allow_all_test

import data.portcullis.network.calico_allow_all

policy(resource, spec) := {
	"request": {"resource": {"resource": resource}},
	"object": {"spec": spec},
	"parameters": {"allowedPorts": [], "widestIPv4": 8, "widestIPv6": 7},
}

global(spec) := policy("globalnetworkpolicies", spec)

test_a_rule_without_a_source_is_fixed_with_a_selector if {
	some finding in calico_allow_all.deny with input as global({"ingress": [{"action": "Allow"}]})
	finding == {
		"msg": "the rule allows every source",
		"path": "spec.ingress[0].source",
		"fix": [{"op": "set", "path": "spec.ingress[0].source.selector", "value": "app == 'replace-me'"}],
	}
}

test_the_forms_of_all_are_known if {
	every selector in ["", "all()", " all( ) ", "all()||x == 'y'"] {
		count(calico_allow_all.deny) == 1 with input as global({"egress": [{"action": "Allow", "destination": {"selector": selector}}]})
	}
}

test_a_selector_that_begins_like_all_is_a_choice if {
	every selector in ["all() && app == 'x'", "!all()", "allowed == 'true'"] {
		count(calico_allow_all.deny) == 0 with input as global({"egress": [{"action": "Allow", "destination": {"selector": selector}}]})
	}
}

test_a_wide_net_is_replaced if {
	some finding in calico_allow_all.deny with input as global({"egress": [{"action": "Allow", "destination": {"nets": ["10.0.0.0/8", "0.0.0.0/0"]}}]})
	finding.path == "spec.egress[0].destination.nets[1]"
}

test_nets_of_denying_rules_do_not_count if {
	count(calico_allow_all.deny) == 0 with input as global({"egress": [
		{"action": "Allow", "destination": {"nets": ["16.0.0.0/8"]}},
		{"action": "Deny", "destination": {"nets": ["17.0.0.0/8"]}},
	]})
}
