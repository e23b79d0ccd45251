package portcullis.network.istio_authorization_allow_all_test

import data.portcullis.network.istio_authorization_allow_all

policy(spec) := {"object": {"spec": spec}, "parameters": {"wildcards": ["*"], "widestIPv4": 8, "widestIPv6": 7}}

test_a_source_is_added_to_an_empty_rule if {
	some finding in istio_authorization_allow_all.deny with input as policy({"rules": [{}]})
	finding == {
		"msg": "rule 0 allows every request",
		"path": "spec.rules[0].from",
		"fix": [{"op": "set", "path": "spec.rules[0].from", "value": [{"source": {"principals": ["cluster.local/ns/replace-me/sa/replace-me"]}}]}],
	}
}

test_the_source_is_named if {
	some finding in istio_authorization_allow_all.deny with input as policy({"rules": [{"from": [{"source": {"namespaces": ["a"]}}, {"source": {"principals": ["*"]}}]}]})
	finding.msg == "rule 0 allows everybody by source.principals: *"
	finding.path == "spec.rules[0].from[1]"
}

test_only_allowing_policies_are_judged if {
	every action in ["DENY", "AUDIT", "CUSTOM"] {
		count(istio_authorization_allow_all.deny) == 0 with input as policy({"action": action, "rules": [{}]})
	}
}

test_a_policy_without_a_spec_allows_nothing if {
	count(istio_authorization_allow_all.deny) == 0 with input as {"object": {}, "parameters": {"wildcards": ["*"], "widestIPv4": 8, "widestIPv6": 7}}
}
