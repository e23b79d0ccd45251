package portcullis.lib.remembered_test

import data.portcullis.lib.remembered

by(user) := {"subject": {"username": user}, "request": {"namespace": "shop"}}

test_an_incident_counts_where_it_says if {
	remembered.here({"namespaces": []}) with input as by("ada")
	remembered.here({}) with input as by("ada")
	remembered.here({"namespaces": ["a", "sh*"]}) with input as by("ada")
	not remembered.here({"namespaces": ["shop-2"]}) with input as by("ada")
}

test_as_asked_is_what_the_incident_says if {
	remembered.outcome({"effect": "warn"}, "as asked", "deny", ["c"]) == "warn" with input as by("ada")
	remembered.outcome({"effect": "deny"}, "as asked", "warn", ["c"]) == "deny" with input as by("ada")
	remembered.outcome({"effect": ""}, "as asked", "warn", ["c"]) == "deny" with input as by("ada")
	remembered.outcome({"effect": "warn"}, "deny", "warn", ["c"]) == "deny" with input as by("ada")
}

test_replacements_are_what_controllers_ask_for if {
	remembered.outcome({"effect": "deny"}, "deny", "warn", ["c"]) == "warn" with input as by("c")
	remembered.outcome({"effect": "deny"}, "warn", "as asked", ["c"]) == "deny" with input as by("c")
	remembered.outcome({"effect": "deny"}, "deny", "none", ["c"]) == "none" with input as by("c")
}

test_a_message_names_the_incident if {
	remembered.told({"reason": "A miner", "name": "i", "expires": "2026-01-02T00:00:00Z"}) == "A miner (i, until 2026-01-02T00:00:00Z)"
}
