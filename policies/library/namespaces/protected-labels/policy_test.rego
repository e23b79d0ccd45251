package portcullis.namespaces.protected_labels_test

import data.portcullis.namespaces.protected_labels

enforce := "pod-security.kubernetes.io/enforce"

parameters := {
	"labels": ["pod-security.kubernetes.io/*"],
	"annotations": ["policy.portcullis.dev/*"],
	"harmless": ["pod-security.kubernetes.io/*=restricted"],
	"allowedUsers": ["root"],
	"allowedGroups": ["platform"],
}

update(old, new, user) := {
	"subject": {"username": user, "groups": ["system:authenticated"]},
	"object": {"metadata": {"labels": new}},
	"oldObject": {"metadata": {"labels": old}},
	"parameters": parameters,
}

test_a_changed_label_is_found if {
	some finding in protected_labels.deny with input as update({enforce: "restricted"}, {enforce: "privileged"}, "ada")
	finding.msg == "\"ada\" may not set the label pod-security.kubernetes.io/enforce to \"privileged\""
	finding.path == "metadata.labels[pod-security.kubernetes.io/enforce]"
}

test_a_removed_label_is_found if {
	some finding in protected_labels.deny with input as update({enforce: "restricted"}, {}, "ada")
	finding.msg == "\"ada\" may not remove the label pod-security.kubernetes.io/enforce"
}

test_a_new_namespace_may_not_choose if {
	count(protected_labels.deny) == 1 with input as {
		"subject": {"username": "ada", "groups": []},
		"object": {"metadata": {"labels": {enforce: "privileged"}}},
		"parameters": parameters,
	}
}

test_tightening_is_open_to_all if count(protected_labels.deny) == 0 with input as update({}, {enforce: "restricted"}, "ada")

test_an_unchanged_label_is_fine if {
	count(protected_labels.deny) == 0 with input as update({enforce: "baseline"}, {enforce: "baseline", "team": "a"}, "ada")
}

test_an_allowed_user_may if count(protected_labels.deny) == 0 with input as update({enforce: "restricted"}, {}, "root")
