package portcullis.PACKAGE.owner_label_test

import data.portcullis.PACKAGE.owner_label

labelled(value) := {
	"parameters": {"label": "owner"},
	"workload": {"labels": [{"key": "owner", "value": value}]},
}

test_an_owner_is_enough if count(owner_label.deny) == 0 with input as labelled("team-a")

test_an_empty_label_names_nobody if count(owner_label.deny) == 1 with input as labelled("")

test_no_label_names_nobody if {
	count(owner_label.deny) == 1 with input as {"parameters": {"label": "owner"}, "workload": {"labels": []}}
}
