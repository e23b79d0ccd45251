package portcullis.network.consul_plaintext_test

import data.portcullis.network.consul_plaintext

test_permissive_becomes_strict if {
	some finding in consul_plaintext.deny with input as {"object": {"spec": {"mutualTLSMode": "permissive"}}}
	finding.fix == [{"op": "set", "path": "spec.mutualTLSMode", "value": "strict"}]
}

test_the_switch_is_turned_off if {
	some finding in consul_plaintext.deny with input as {"object": {"spec": {"allowEnablingPermissiveMutualTLS": true}}}
	finding.fix == [{"op": "set", "path": "spec.allowEnablingPermissiveMutualTLS", "value": false}]
}

test_silence_is_strict if {
	count(consul_plaintext.deny) == 0 with input as {"object": {"spec": {}}}
	count(consul_plaintext.deny) == 0 with input as {"object": {}}
}
