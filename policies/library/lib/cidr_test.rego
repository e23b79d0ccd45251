package portcullis.lib.cidr_test

import data.portcullis.lib.cidr

limits := {"IPv4": 8, "IPv6": 7}

test_a_block_of_the_limit_is_not_too_wide if {
	cidr.too_wide(["10.0.0.0/8", "fc00::/7", "192.168.0.0/16"], limits) == {}
}

test_a_block_beyond_the_limit_is_too_wide if {
	cidr.too_wide(["10.0.0.0/7"], limits) == {"10.0.0.0/7": "10.0.0.0/7"}
	cidr.too_wide(["2000::/3"], limits) == {"2000::/3": "2000::/3"}
}

test_halves_are_the_whole if {
	cidr.too_wide(["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"], limits) == {
		"0.0.0.0/1": "0.0.0.0/0", "128.0.0.0/1": "0.0.0.0/0",
		"::/1": "::/0", "8000::/1": "::/0",
	}
}

test_many_small_blocks_are_one_large if {
	cidr.too_wide(["16.0.0.0/8", "17.0.0.0/8", "18.0.0.0/7"], limits) == {
		"16.0.0.0/8": "16.0.0.0/6", "17.0.0.0/8": "16.0.0.0/6", "18.0.0.0/7": "16.0.0.0/6",
	}
}

test_families_do_not_mix if {
	cidr.too_wide(["0.0.0.0/0", "fd00::/64"], limits) == {"0.0.0.0/0": "0.0.0.0/0"}
	cidr.too_wide(["10.0.0.0/8", "::/0"], limits) == {"::/0": "::/0"}
}

test_zeros_in_front_hide_nothing if {
	cidr.too_wide(["00.00.0.0/00"], limits) == {"00.00.0.0/00": "0.0.0.0/0"}
	cidr.normal("fe80::0a0b/010") == "fe80::0a0b/10"
	cidr.normal("100.20.0.1/8") == "100.20.0.1/8"
}

test_host_bits_do_not_matter if {
	cidr.too_wide(["203.0.113.7/0"], limits) == {"203.0.113.7/0": "0.0.0.0/0"}
}

test_a_limit_of_zero_allows_everything if {
	cidr.too_wide(["0.0.0.0/0", "::/0"], {"IPv4": 0, "IPv6": 0}) == {}
}

test_what_cannot_be_compared_is_not_readable if {
	every block in ["", "x", "10.0.0.0", "10.0.0.0/33", "::ffff:10.0.0.0/104", "0:0:0:0:0:ffff::/96", "10.0.0.0/8 "] {
		not cidr.readable(block)
	}
}

test_mapped_blocks_do_not_break_the_others if {
	cidr.too_wide(["::ffff:0:0/96", "::1.2.3.4/120", "0.0.0.0/0"], limits) == {"0.0.0.0/0": "0.0.0.0/0"}
}

test_a_block_and_its_whole_are_named if {
	cidr.extent("0.0.0.0/0", "0.0.0.0/0") == "0.0.0.0/0"
	cidr.extent("0.0.0.0/1", "0.0.0.0/0") == "0.0.0.0/1, which is or adds up to 0.0.0.0/0"
}

test_an_address_lies_in_a_block if {
	cidr.holds(["10.0.0.0/8", "169.254.0.0/16"], "169.254.169.254")
	cidr.holds(["169.254.0.0/16"], "169.254.169.0254")
	cidr.holds(["169.254.0.0/16"], "::ffff:169.254.169.254")
	cidr.holds(["fe80::/10"], "fe80::1")
	cidr.holds(["0.0.0.0/0"], "169.254.169.254/32")
}

test_an_address_lies_in_no_block if {
	not cidr.holds(["10.0.0.0/8"], "169.254.169.254")
	not cidr.holds([], "169.254.169.254")
	not cidr.holds(["10.0.0.0/8"], "not an address")
	not cidr.holds(["10.0.0.0/8"], "10.0.0.0/x")
	not cidr.holds(["::/0"], "10.0.0.1")
}

test_only_blocks_are_valid if {
	cidr.valid(["10.0.0.0/8", "everything", "10.0.0.1", "010.0.0.0/8", "::/0", "10.0.0.0/33"]) == ["10.0.0.0/8", "010.0.0.0/8", "::/0"]
}
