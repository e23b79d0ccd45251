package portcullis.exceptions.creator_test

import data.portcullis.exceptions.creator

exception(by, owner) := {
	"metadata": {"name": "e", "annotations": {"policy.portcullis.dev/created-by": by}},
	"spec": {"policy": "pods/privileged", "owner": owner},
}

asking(user, operation, object, old) := {
	"request": {"operation": operation},
	"subject": {"username": user},
	"object": object,
	"oldObject": old,
}

test_creator_is_who_asks if {
	count(creator.deny) == 0 with input as asking("ada", "CREATE", exception("ada", "shop"), null)
}

test_another_one_is_refused if {
	some finding in creator.deny with input as asking("ada", "CREATE", exception("bob", "shop"), null)
	finding.msg == "the exception is said to be of \"bob\", but \"ada\" asks for it"
	finding.path == "metadata.annotations[policy.portcullis.dev/created-by]"
}

test_none_is_refused if {
	count(creator.deny) == 1 with input as asking("ada", "CREATE", {"metadata": {"name": "e"}, "spec": {}}, null)
}

test_who_changes_it_answers_for_it if {
	count(creator.deny) == 0 with input as asking("bob", "UPDATE", exception("bob", "other"), exception("ada", "shop"))
	count(creator.deny) == 1 with input as asking("bob", "UPDATE", exception("ada", "other"), exception("ada", "shop"))
}

test_creator_alone_cannot_be_changed if {
	count(creator.deny) == 1 with input as asking("bob", "UPDATE", exception("bob", "shop"), exception("ada", "shop"))
	count(creator.deny) == 0 with input as asking("bob", "UPDATE", exception("ada", "shop"), exception("ada", "shop"))
}
