package portcullis.pods.host_path_volumes_test

import data.portcullis.pods.host_path_volumes

pod(volume) := {"workload": {"volumes": [object.union({"name": "data", "path": "spec.volumes[0]"}, volume)]}}

test_a_directory_of_the_node_is_refused_and_replaced_by_an_empty_one if {
	host_path_volumes.deny == {{
		"msg": `volume "data" mounts "/etc" of the node`,
		"path": "spec.volumes[0].hostPath",
		"fix": [{"op": "set", "path": "spec.volumes[0]", "value": {"name": "data", "emptyDir": {}}}],
	}} with input as pod({"type": "hostPath", "hostPath": "/etc"})
}

test_other_volumes_pass if {
	count(host_path_volumes.deny) == 0 with input as pod({"type": "persistentVolumeClaim", "hostPath": ""})
}
