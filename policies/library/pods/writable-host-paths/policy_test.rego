package portcullis.pods.writable_host_paths_test

import data.portcullis.pods.writable_host_paths

pod(type, mount) := {
	"parameters": {"allowed": ["/var/lib/agent"]},
	"workload": {
		"volumes": [{"name": "host", "type": type, "hostPath": "/var/log", "path": "spec.volumes[0]"}],
		"containers": [{"name": "app", "mounts": [mount]}],
	},
}

mount(volume, read_only) := {"volume": volume, "readOnly": read_only, "path": "spec.containers[0].volumeMounts[0]"}

test_a_writable_mount_is_named_with_the_field_to_set if {
	writable_host_paths.deny == {{
		"msg": `container "app" can write to the node's /var/log`,
		"path": "spec.containers[0].volumeMounts[0].readOnly",
		"fix": [{"op": "set", "path": "spec.containers[0].volumeMounts[0].readOnly", "value": true}],
	}} with input as pod("hostPath", mount("host", false))
}

test_read_only_mounts_pass if count(writable_host_paths.deny) == 0 with input as pod("hostPath", mount("host", true))

test_other_volumes_may_be_written if {
	count(writable_host_paths.deny) == 0 with input as pod("emptyDir", mount("host", false))
	count(writable_host_paths.deny) == 0 with input as pod("hostPath", mount("scratch", false))
}
