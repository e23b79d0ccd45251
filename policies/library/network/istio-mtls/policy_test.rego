package portcullis.network.istio_mtls_test

import data.portcullis.network.istio_mtls

judged(kind, spec) := {
	"request": {"kind": {"kind": kind}},
	"object": {"spec": spec},
	"parameters": {"modes": ["STRICT"], "clientModes": ["DISABLE"]},
}

test_the_mode_becomes_strict if {
	some finding in istio_mtls.deny with input as judged("PeerAuthentication", {"mtls": {"mode": "PERMISSIVE"}})
	finding == {
		"msg": "mutual TLS has mode PERMISSIVE",
		"path": "spec.mtls.mode",
		"fix": [{"op": "set", "path": "spec.mtls.mode", "value": "STRICT"}],
	}
}

test_ports_are_judged_one_by_one if {
	some finding in istio_mtls.deny with input as judged("PeerAuthentication", {
		"mtls": {"mode": "STRICT"},
		"portLevelMtls": {"80": {"mode": "STRICT"}, "81": {"mode": "DISABLE"}},
	})
	finding.path == "spec.portLevelMtls[81].mode"
}

test_a_mode_left_open_may_be_allowed if {
	count(istio_mtls.deny) == 0 with input as judged("PeerAuthentication", {}) with input.parameters.modes as ["STRICT", "UNSET"]
}

test_a_destination_rule_needs_no_mode if {
	count(istio_mtls.deny) == 0 with input as judged("DestinationRule", {"host": "a"})
}
