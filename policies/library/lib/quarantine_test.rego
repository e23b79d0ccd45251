package portcullis.lib.quarantine_test

import data.portcullis.lib.quarantine

incidents := [
	{"name": "i-1", "scope": "digest", "reason": "A miner.", "digest": "sha256:aa"},
	{"name": "q-1", "scope": "pod", "reason": "A shell.", "pod": {"namespace": "shop", "name": "web", "uid": "u-1"}},
]

without_object(namespace, name) := {"incidents": incidents, "request": {"namespace": namespace, "name": name}}

with_object(uid) := {"incidents": incidents, "request": {"namespace": "shop", "name": "web"}, "oldObject": {"metadata": {"uid": uid}}}

test_a_pod_is_known_by_its_uid if {
	count(quarantine.about) == 1 with input as with_object("u-1")
	count(quarantine.about) == 0 with input as with_object("u-2")
}

test_without_the_pod_it_is_known_by_its_name if {
	count(quarantine.about) == 1 with input as without_object("shop", "web")
	count(quarantine.about) == 0 with input as without_object("shop", "web2")
	count(quarantine.about) == 0 with input as without_object("other", "web")
}

test_a_message_says_why if {
	quarantine.why == "q-1: A shell." with input as with_object("u-1")
	quarantine.why == "q-9" with input as {"oldObject": {"metadata": {"labels": {quarantine.label: "q-9"}}}}
}

test_the_label_counts_whatever_its_value if {
	quarantine.labelled with input as {"oldObject": {"metadata": {"labels": {quarantine.label: ""}}}}
	not quarantine.labelled with input as {"object": {"metadata": {"labels": {quarantine.label: "q"}}}}
}
