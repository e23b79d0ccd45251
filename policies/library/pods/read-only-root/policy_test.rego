package portcullis.pods.read_only_root_test

import data.portcullis.pods.read_only_root

pod(os, settings) := {"workload": {"os": os, "containers": [{"name": "app", "path": "spec.containers[0]", "securityContext": settings}]}}

test_a_writable_root_is_named_with_the_field_to_set if {
	read_only_root.deny == {{
		"msg": `container "app" can write to its root file system`,
		"path": "spec.containers[0].securityContext.readOnlyRootFilesystem",
		"fix": [{"op": "set", "path": "spec.containers[0].securityContext.readOnlyRootFilesystem", "value": true}],
	}} with input as pod("", {"readOnlyRootFilesystem": false})
}

test_a_read_only_root_passes if count(read_only_root.deny) == 0 with input as pod("", {"readOnlyRootFilesystem": true})

test_windows_has_no_such_setting if count(read_only_root.deny) == 0 with input as pod("windows", {"readOnlyRootFilesystem": false})
