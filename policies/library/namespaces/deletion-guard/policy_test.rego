package portcullis.namespaces.deletion_guard_test

import data.portcullis.namespaces.deletion_guard

deleting(metadata, user) := {
	"subject": {"username": user, "groups": ["system:masters"]},
	"oldObject": {"metadata": metadata},
	"parameters": {
		"namespaces": ["kube-*"],
		"labels": ["policy.portcullis.dev/deletion-protection=true"],
		"allowedUsers": ["root"],
		"allowedGroups": ["breakglass"],
	},
}

test_a_protected_name_is_found if {
	some finding in deletion_guard.deny with input as deleting({"name": "kube-system"}, "ada")
	finding.msg == "the namespace \"kube-system\" is protected from deletion by its name"
}

test_a_protecting_label_is_found if {
	some finding in deletion_guard.deny with input as deleting({"name": "shop", "labels": {"policy.portcullis.dev/deletion-protection": "true"}}, "ada")
	finding.path == "metadata.labels[policy.portcullis.dev/deletion-protection]"
}

test_others_are_fine if count(deletion_guard.deny) == 0 with input as deleting({"name": "shop"}, "ada")

test_an_allowed_user_may if count(deletion_guard.deny) == 0 with input as deleting({"name": "kube-system"}, "root")
