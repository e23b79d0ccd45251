package portcullis.network.default_deny_test

import data.portcullis.network.default_deny

shop(policies, directions) := {
	"request": {"namespace": "shop"},
	"parameters": {"directions": directions},
	"cluster": [{"group": "networking.k8s.io", "resource": "networkpolicies", "namespace": "shop", "object": {"spec": spec}} |
		some spec in policies
	],
}

test_each_missing_direction_is_a_finding if {
	findings := default_deny.deny with input as shop([], ["Ingress", "Egress"])
	{finding.details.direction | some finding in findings} == {"Ingress", "Egress"}
}

test_the_namespace_is_named if {
	some finding in default_deny.deny with input as shop([], ["Ingress"])
	contains(finding.msg, "\"shop\"")
}

test_only_the_configured_directions_count if {
	count(default_deny.deny) == 0 with input as shop([{"podSelector": {}}], ["Ingress"])
}

test_policies_of_some_pods_do_not_add_up if {
	count(default_deny.deny) == 1 with input as shop(
		[{"podSelector": {"matchLabels": {"app": "a"}}}, {"podSelector": {"matchLabels": {"app": "b"}}}],
		["Ingress"],
	)
}
