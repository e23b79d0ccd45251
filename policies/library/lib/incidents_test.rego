package portcullis.lib.incidents_test

import data.portcullis.lib.incidents

test_by_the_parameter if incidents.reasons("d", [{"digest": "d", "reason": "r"}, {"digest": "e", "reason": "s"}], {}) == {"r"}

test_by_the_list_with_reasons if incidents.reasons("d", [], {"d": "r", "e": "s"}) == {"r"}

test_by_a_list_without_reasons if incidents.reasons("d", [], ["c", "d"]) == {"it is on the bundle's list"}

test_a_reason_may_be_anything if incidents.reasons("d", [], {"d": null}) == {"null"}

test_others_are_not if incidents.reasons("x", [{"digest": "d", "reason": "r"}], {"e": "x "}) == set()

test_a_list_is_read_in_either_form if {
	incidents.readable({"digests": {}})
	incidents.readable({"digests": ["d"]})
	incidents.readable({"digests": null})
}

test_anything_else_is_no_list if {
	not incidents.readable({})
	not incidents.readable({"digest": {"d": "r"}})
	not incidents.readable({"digests": "d"})
}
