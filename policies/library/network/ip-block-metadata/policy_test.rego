package portcullis.network.ip_block_metadata_test

import data.portcullis.network.ip_block_metadata

egress(block, addresses) := {
	"object": {"spec": {"egress": [{"to": [{"ipBlock": block}]}]}},
	"parameters": {"addresses": addresses},
}

test_the_address_is_added_to_except if {
	some finding in ip_block_metadata.deny with input as egress({"cidr": "0.0.0.0/0"}, ["169.254.169.254/32"])
	finding.msg == "egress to 0.0.0.0/0 includes the metadata service at 169.254.169.254/32"
	finding.fix == [{"op": "add", "path": "spec.egress[0].to[0].ipBlock.except", "value": "169.254.169.254/32"}]
}

test_a_block_of_the_address_alone_is_replaced if {
	some finding in ip_block_metadata.deny with input as egress({"cidr": "169.254.169.254/32"}, ["169.254.169.254/32"])
	finding.fix == [{"op": "set", "path": "spec.egress[0].to[0]", "value": {"podSelector": {}}}]
}

test_each_address_needs_an_except if {
	findings := ip_block_metadata.deny with input as egress(
		{"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]},
		["169.254.169.254/32", "100.100.100.200/32"],
	)
	count(findings) == 1
}

test_families_do_not_mix if {
	count(ip_block_metadata.deny) == 0 with input as egress({"cidr": "::/0"}, ["169.254.169.254/32"])
}
