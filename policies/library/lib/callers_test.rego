package portcullis.lib.callers_test

import data.portcullis.lib.callers

responder := {"subject": {
	"username": "system:serviceaccount:ops:responder",
	"groups": ["system:serviceaccounts", "system:authenticated"],
	"serviceAccount": {"namespace": "ops", "name": "responder"},
	"extra": [
		{"key": "authentication.kubernetes.io/pod-name", "values": ["p"]},
		{"key": "authentication.kubernetes.io/pod-uid", "values": ["u"]},
	],
}}

test_callers_are_permitted_by_any_of_the_three if {
	callers.permitted(["system:serviceaccount:ops:responder"], [], []) with input as responder
	callers.permitted([], ["x", "system:authenticated"], []) with input as responder
	callers.permitted([], [], ["ops/responder"]) with input as responder
}

test_others_are_not if {
	not callers.permitted(["ops/responder"], ["responder"], ["ops/other", "other/responder"]) with input as responder
	not callers.permitted(["ada"], ["x"], ["/"]) with input as {"subject": {"username": "bob", "groups": []}}
	not callers.permitted([], [], []) with input as responder
}

test_pods_are_by_uid if {
	callers.pods == {"u"} with input as responder
	callers.pods == set() with input as {"subject": {"username": "bob"}}
}
