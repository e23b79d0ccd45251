package portcullis.network.gateway_listeners_test

import data.portcullis.network.gateway_listeners

gateway(listener) := {
	"object": {"spec": {"listeners": [object.union({"name": "web", "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "a"}]}}, listener)]}},
	"parameters": {"protocols": ["HTTPS", "TLS"], "from": ["Same", "Selector"]},
}

test_http_becomes_https_with_a_certificate if {
	some finding in gateway_listeners.deny with input as gateway({"protocol": "HTTP"})
	finding.msg == "listener \"web\" uses HTTP"
	finding.fix == [
		{"op": "set", "path": "spec.listeners[0].protocol", "value": "HTTPS"},
		{"op": "set", "path": "spec.listeners[0].tls.certificateRefs", "value": [{"name": "replace-me-tls"}]},
	]
}

test_passthrough_needs_no_certificate if {
	count(gateway_listeners.deny) == 0 with input as gateway({"protocol": "TLS", "tls": {"mode": "Passthrough", "certificateRefs": []}})
}

test_a_selector_needs_terms if {
	count(gateway_listeners.deny) == 1 with input as gateway({"allowedRoutes": {"namespaces": {"from": "Selector"}}})
	count(gateway_listeners.deny) == 0 with input as gateway({"allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}}})
}

test_routes_are_taken_from_the_same_namespace_after_the_fix if {
	some finding in gateway_listeners.deny with input as gateway({"allowedRoutes": {"namespaces": {"from": "All"}}})
	finding.fix == [{"op": "set", "path": "spec.listeners[0].allowedRoutes.namespaces.from", "value": "Same"}]
}
