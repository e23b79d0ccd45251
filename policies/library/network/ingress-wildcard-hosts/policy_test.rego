package portcullis.network.ingress_wildcard_hosts_test

import data.portcullis.network.ingress_wildcard_hosts

ingress(spec) := {"object": {"spec": spec}, "parameters": {"allowed": ["*.preview.example.com"]}}

test_the_rule_is_named if {
	some finding in ingress_wildcard_hosts.deny with input as ingress({"rules": [{"host": "a.example.com"}, {"host": "*.example.com"}]})
	finding.msg == "rule 1 is for every host of \"*.example.com\""
	finding.fix == [{"op": "set", "path": "spec.rules[1].host", "value": "replace-me.example.com"}]
}

test_an_allowed_wildcard_is_compared_whole if {
	count(ingress_wildcard_hosts.deny) == 1 with input as ingress({"rules": [{"host": "*.a.preview.example.com"}]})
}

test_the_default_backend_becomes_a_rule if {
	some finding in ingress_wildcard_hosts.deny with input as ingress({"defaultBackend": {"service": {"name": "web"}}})
	some change in finding.fix
	change.op == "add"
	change.value.http.paths[0].backend == {"service": {"name": "web"}}
}
