package portcullis.network.gateway_wildcard_hosts_test

import data.portcullis.network.gateway_wildcard_hosts

judged(spec) := {"object": {"spec": spec}, "parameters": {"allowed": ["*.preview.example.com"]}}

test_a_listener_without_a_hostname_gets_one if {
	some finding in gateway_wildcard_hosts.deny with input as judged({"listeners": [{"name": "web", "protocol": "HTTP"}]})
	finding == {
		"msg": "listener \"web\" is for every host",
		"path": "spec.listeners[0].hostname",
		"fix": [{"op": "set", "path": "spec.listeners[0].hostname", "value": "replace-me.example.com"}],
	}
}

test_protocols_without_hostnames_are_not_judged if {
	every protocol in ["TCP", "UDP"] {
		count(gateway_wildcard_hosts.deny) == 0 with input as judged({"listeners": [{"name": "web", "protocol": protocol}]})
	}
}

test_the_hostname_of_a_route_is_named if {
	some finding in gateway_wildcard_hosts.deny with input as judged({"hostnames": ["a.example.com", "*.example.com"]})
	finding.path == "spec.hostnames[1]"
}
