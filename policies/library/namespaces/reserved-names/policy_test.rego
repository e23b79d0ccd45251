package portcullis.namespaces.reserved_names_test

import data.portcullis.namespaces.reserved_names

creating(metadata, user) := {
	"subject": {"username": user, "groups": ["system:authenticated"]},
	"object": {"metadata": metadata},
	"parameters": {"reserved": ["kube-*"], "existing": ["kube-system"], "allowedUsers": ["root"], "allowedGroups": []},
}

test_a_reserved_prefix_is_found if {
	some finding in reserved_names.deny with input as creating({"name": "kube-backup"}, "ada")
	finding.msg == "the name \"kube-backup\" is reserved by kube-*"
	finding.fix == [{"op": "set", "path": "metadata.name", "value": "team-kube-backup"}]
}

test_a_generated_name_is_found if {
	some finding in reserved_names.deny with input as creating({"generateName": "kube-"}, "ada")
	finding.path == "metadata.generateName"
}

test_the_prefix_alone_counts if count(reserved_names.deny) == 0 with input as creating({"name": "my-kube-backup"}, "ada")

test_kubernetes_own_are_fine if count(reserved_names.deny) == 0 with input as creating({"name": "kube-system"}, "ada")

test_an_allowed_user_may if count(reserved_names.deny) == 0 with input as creating({"name": "kube-backup"}, "root")
