package portcullis.network.ingress_tls_test

import data.portcullis.network.ingress_tls

ingress(spec) := {"object": {"metadata": {}, "spec": spec}, "parameters": {"plaintext": [{"key": "a/redirect", "values": ["false"]}]}}

test_an_entry_for_the_host_is_added if {
	some finding in ingress_tls.deny with input as ingress({"rules": [{"host": "a.example.com"}], "tls": [{"hosts": ["b.example.com"]}]})
	finding == {
		"msg": "host \"a.example.com\" is served without TLS",
		"path": "spec.rules[0].host",
		"fix": [{"op": "add", "path": "spec.tls", "value": {"hosts": ["a.example.com"], "secretName": "replace-me-tls"}}],
	}
}

test_a_wildcard_covers_one_label if {
	count(ingress_tls.deny) == 0 with input as ingress({"rules": [{"host": "a.example.com"}], "tls": [{"hosts": ["*.example.com"]}]})
	count(ingress_tls.deny) == 1 with input as ingress({"rules": [{"host": "a.b.example.com"}], "tls": [{"hosts": ["*.example.com"]}]})
	count(ingress_tls.deny) == 1 with input as ingress({"rules": [{"host": "example.com"}], "tls": [{"hosts": ["*.example.com"]}]})
}

test_a_wildcard_host_needs_its_own_entry if {
	count(ingress_tls.deny) == 0 with input as ingress({"rules": [{"host": "*.example.com"}], "tls": [{"hosts": ["*.example.com"]}]})
	count(ingress_tls.deny) == 1 with input as ingress({"rules": [{"host": "*.example.com"}], "tls": [{"hosts": ["a.example.com"]}]})
}

test_a_rule_for_every_host_needs_an_entry_for_every_host if {
	some finding in ingress_tls.deny with input as ingress({"rules": [{}], "tls": [{"hosts": ["a.example.com"]}]})
	finding.fix == [{"op": "add", "path": "spec.tls", "value": {"secretName": "replace-me-tls"}}]
}

test_a_switched_off_redirect_is_removed if {
	some finding in ingress_tls.deny with input as {"object": {"metadata": {"annotations": {"a/redirect": "false"}}, "spec": {}}, "parameters": ingress({}).parameters}
	finding.fix == [{"op": "remove", "path": "metadata.annotations[a/redirect]"}]
}
