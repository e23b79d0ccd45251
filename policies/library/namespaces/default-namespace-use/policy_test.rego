package portcullis.namespaces.default_namespace_use_test

import data.portcullis.namespaces.default_namespace_use

workload(namespace) := {"request": {"namespace": namespace}, "parameters": {"namespaces": ["default"]}}

test_the_default_namespace_is_found if {
	some finding in default_namespace_use.deny with input as workload("default")
	finding.msg == "runs in the namespace \"default\""
}

test_others_are_fine if count(default_namespace_use.deny) == 0 with input as workload("team")
