package portcullis.network.external_ips_test

import data.portcullis.network.external_ips

service(addresses, allowed) := {"object": {"spec": {"externalIPs": addresses}}, "parameters": {"allowed": allowed}}

test_each_address_is_removed_by_its_index if {
	findings := external_ips.deny with input as service(["8.8.8.8", "203.0.113.7", "1.1.1.1"], ["203.0.113.0/24"])
	{finding.fix | some finding in findings} == {
		[{"op": "remove", "path": "spec.externalIPs[0]"}],
		[{"op": "remove", "path": "spec.externalIPs[2]"}],
	}
}

test_what_is_no_address_is_not_allowed if {
	some finding in external_ips.deny with input as service(["somewhere"], ["0.0.0.0/0"])
	finding.msg == "the Service takes the traffic to somewhere"
}
