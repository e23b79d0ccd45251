package portcullis.pods.restricted_volumes_test

import data.portcullis.pods.restricted_volumes

pod(type) := {
	"parameters": {"types": ["emptyDir", "secret"]},
	"workload": {"volumes": [{"name": "data", "type": type, "path": "spec.volumes[0]"}]},
}

test_a_type_that_is_not_allowed_is_refused if {
	restricted_volumes.deny == {{
		"msg": `volume "data" is of type "nfs", which is not allowed`,
		"path": "spec.volumes[0]",
		"fix": [{"op": "set", "path": "spec.volumes[0]", "value": {"name": "data", "emptyDir": {}}}],
	}} with input as pod("nfs")
}

test_a_type_nobody_knows_is_refused_and_called_unknown if {
	some finding in restricted_volumes.deny with input as pod("")
	finding.msg == `volume "data" is of type "unknown", which is not allowed`
}

test_allowed_types_pass if {
	count(restricted_volumes.deny) == 0 with input as pod("secret")
}
