package portcullis.network.external_name_test

import data.portcullis.network.external_name

alias(name, forbidden) := {
	"object": {"spec": {"type": "ExternalName", "externalName": name}},
	"parameters": {"forbidden": forbidden},
}

test_patterns_match_dots if {
	count(external_name.deny) == 1 with input as alias("a.b.c.internal", ["*.internal"])
}

test_patterns_match_the_whole_name if {
	count(external_name.deny) == 0 with input as alias("internal.example.com", ["internal", "*.internal"])
}

test_the_name_is_replaced if {
	some finding in external_name.deny with input as alias("Localhost.", ["localhost"])
	finding == {
		"msg": "the Service is an alias for \"localhost\", which matches \"localhost\"",
		"path": "spec.externalName",
		"fix": [{"op": "set", "path": "spec.externalName", "value": "replace-me.example.com"}],
	}
}

test_addresses_need_no_pattern if {
	every name in ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "10.0.0.1."] {
		count(external_name.deny) == 1 with input as alias(name, [])
	}
}

test_names_with_numbers_are_names if {
	every name in ["1.example", "10.0.0.1.nip.io", "0x7f.example.com", "a1"] {
		count(external_name.deny) == 0 with input as alias(name, [])
	}
}
