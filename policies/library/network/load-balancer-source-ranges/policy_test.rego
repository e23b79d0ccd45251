package portcullis.network.load_balancer_source_ranges_test

import data.portcullis.network.load_balancer_source_ranges

ranges(list) := {
	"object": {"spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": list}},
	"parameters": {"widestIPv4": 8, "widestIPv6": 7},
}

test_the_placeholder_is_for_documentation if {
	some finding in load_balancer_source_ranges.deny with input as ranges([])
	finding.fix == [{"op": "set", "path": "spec.loadBalancerSourceRanges", "value": ["192.0.2.0/24"]}]
}

test_the_range_is_named if {
	some finding in load_balancer_source_ranges.deny with input as ranges(["203.0.113.0/24", "2000::/3"])
	finding.msg == "the load balancer accepts connections from 2000::/3"
	finding.path == "spec.loadBalancerSourceRanges[1]"
}

test_any_range_may_be_allowed if {
	count(load_balancer_source_ranges.deny) == 0 with input as ranges(["0.0.0.0/0"]) with input.parameters as {"widestIPv4": 0, "widestIPv6": 0}
}
