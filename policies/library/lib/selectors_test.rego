package portcullis.lib.selectors_test

import data.portcullis.lib.selectors

labels := {"app": "shop", "tier": "web", "blank": ""}

test_an_empty_selector_selects_everything if selectors.selects({}, labels)

test_an_absent_selector_selects_nothing if not selected_by_input with input as {}

selected_by_input if selectors.selects(input.selector, labels)

test_all_match_labels_have_to_be_there if {
	selectors.selects({"matchLabels": {"app": "shop", "tier": "web"}}, labels)
	not selectors.selects({"matchLabels": {"app": "shop", "tier": "db"}}, labels)
	not selectors.selects({"matchLabels": {"app": "shop", "zone": "a"}}, labels)
}

test_in_wants_one_of_the_values if {
	selectors.selects(expression("tier", "In", ["web", "db"]), labels)
	not selectors.selects(expression("tier", "In", ["db"]), labels)
	not selectors.selects(expression("zone", "In", ["a"]), labels)
}

test_not_in_is_true_where_the_label_is_absent if {
	selectors.selects(expression("tier", "NotIn", ["db"]), labels)
	selectors.selects(expression("zone", "NotIn", ["a"]), labels)
	not selectors.selects(expression("tier", "NotIn", ["web"]), labels)
}

test_exists_takes_an_empty_value if {
	selectors.selects(expression("blank", "Exists", []), labels)
	not selectors.selects(expression("zone", "Exists", []), labels)
}

test_does_not_exist if {
	selectors.selects(expression("zone", "DoesNotExist", []), labels)
	not selectors.selects(expression("blank", "DoesNotExist", []), labels)
}

test_an_unknown_operator_selects_nothing if not selectors.selects(expression("tier", "Like", ["w*"]), labels)

test_labels_and_expressions_both_have_to_hold if {
	not selectors.selects({"matchLabels": {"app": "shop"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["db"]}]}, labels)
}

expression(key, operator, values) := {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}
