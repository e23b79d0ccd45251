package portcullis.network.load_balancer_internal_test

import data.portcullis.network.load_balancer_internal

service(annotations) := {
	"object": {"metadata": {"annotations": annotations}, "spec": {"type": "LoadBalancer"}},
	"parameters": {"annotations": [
		{"key": "cloud.example.com/scheme", "values": ["internal", "private"]},
		{"key": "old.example.com/internal", "values": ["true"]},
	]},
}

test_the_first_annotation_is_that_of_the_fix if {
	some finding in load_balancer_internal.deny with input as service({"team": "a"})
	finding.fix == [{"op": "set", "path": "metadata.annotations[cloud.example.com/scheme]", "value": "internal"}]
}

test_any_of_the_annotations_suffices if {
	count(load_balancer_internal.deny) == 0 with input as service({"cloud.example.com/scheme": "private"})
	count(load_balancer_internal.deny) == 0 with input as service({"old.example.com/internal": "true"})
}

test_values_are_not_mixed if {
	count(load_balancer_internal.deny) == 1 with input as service({"old.example.com/internal": "internal"})
}

test_a_service_without_annotations_is_found if {
	count(load_balancer_internal.deny) == 1 with input as {"object": {"metadata": {}, "spec": {"type": "LoadBalancer"}}, "parameters": service({}).parameters}
}
