package portcullis.configuration.immutable_config_test

import data.portcullis.configuration.immutable_config

creating(kind, fields, user, groups) := {
	"request": {"kind": {"kind": kind}},
	"object": fields,
	"subject": {"username": user, "groups": groups},
	"parameters": {
		"kinds": ["ConfigMap"],
		"exemptTypes": ["helm.sh/release.v1"],
		"exemptUsers": ["system:kube-controller-manager"],
		"exemptGroups": ["system:serviceaccounts:kube-system"],
	},
}

test_a_mutable_one_is_found if {
	some finding in immutable_config.deny with input as creating("ConfigMap", {}, "ada", [])
	finding.msg == "the ConfigMap can be changed in place"
	finding.fix == [{"op": "set", "path": "immutable", "value": true}]
}

test_immutable_false_is_found if count(immutable_config.deny) == 1 with input as creating("ConfigMap", {"immutable": false}, "ada", [])

test_an_immutable_one_is_fine if count(immutable_config.deny) == 0 with input as creating("ConfigMap", {"immutable": true}, "ada", [])

test_other_kinds_are_fine if count(immutable_config.deny) == 0 with input as creating("Secret", {}, "ada", [])

test_controllers_are_exempt if {
	count(immutable_config.deny) == 0 with input as creating("ConfigMap", {}, "system:kube-controller-manager", [])
	count(immutable_config.deny) == 0 with input as creating("ConfigMap", {}, "x", ["system:serviceaccounts:kube-system"])
}
