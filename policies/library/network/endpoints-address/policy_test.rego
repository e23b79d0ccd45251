package portcullis.network.endpoints_address_test

import data.portcullis.network.endpoints_address

judged(object) := {"object": object, "parameters": {"forbidden": ["127.0.0.0/8", "fd00:ec2::254/128"]}}

test_an_address_of_endpoints_is_removed if {
	some finding in endpoints_address.deny with input as judged({"subsets": [{"notReadyAddresses": [{"ip": "10.0.0.1"}, {"ip": "127.0.0.1"}]}]})
	finding == {
		"msg": "127.0.0.1 is an endpoint at a forbidden address",
		"path": "subsets[0].notReadyAddresses[1].ip",
		"fix": [{"op": "remove", "path": "subsets[0].notReadyAddresses[1]"}],
	}
}

test_an_endpoint_of_a_slice_is_removed_whole if {
	some finding in endpoints_address.deny with input as judged({"endpoints": [{"addresses": ["fd00:ec2::254"]}]})
	finding.path == "endpoints[0].addresses[0]"
	finding.fix == [{"op": "remove", "path": "endpoints[0]"}]
}

test_names_are_no_addresses if {
	count(endpoints_address.deny) == 0 with input as judged({"addressType": "FQDN", "endpoints": [{"addresses": ["example.com"]}]})
}
