package portcullis.network.ingress_host_collisions_test

import data.portcullis.network.ingress_host_collisions

judged(host, others) := {
	"request": {"namespace": "shop"},
	"object": {"spec": {"rules": [{"host": host}]}},
	"cluster": [{"group": "networking.k8s.io", "resource": "ingresses", "namespace": namespace, "object": {"spec": {"rules": [{"host": other}]}}} |
		some namespace, other in others
	],
	"parameters": {"shared": []},
}

test_the_holder_is_named if {
	some finding in ingress_host_collisions.deny with input as judged("a.example.com", {"stock": "a.example.com"})
	finding.msg == "host \"a.example.com\" belongs to an Ingress of namespace \"stock\""
	finding.fix == [{"op": "set", "path": "spec.rules[0].host", "value": "shop.replace-me.example.com"}]
}

test_each_holder_is_a_finding if {
	count(ingress_host_collisions.deny) == 2 with input as judged("a.example.com", {"stock": "a.example.com", "edge": "a.example.com"})
}

test_the_own_namespace_may_split_a_host if {
	count(ingress_host_collisions.deny) == 0 with input as judged("a.example.com", {"shop": "a.example.com"})
}
