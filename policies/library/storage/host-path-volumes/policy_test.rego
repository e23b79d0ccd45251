package portcullis.storage.host_path_volumes_test

import data.portcullis.storage.host_path_volumes

volume(source) := {"parameters": {"allowed": ["/mnt/disks"]}, "object": {"spec": source}}

passes(source) if count(host_path_volumes.deny) == 0 with input as volume(source)

test_both_sources_on_a_node_are_seen if {
	not passes({"hostPath": {"path": "/data"}})
	not passes({"local": {"path": "/data"}})
	passes({"csi": {"driver": "csi.example.com"}})
}

test_whole_segments_are_compared if {
	passes({"local": {"path": "/mnt/disks/a"}})
	not passes({"local": {"path": "/mnt/disks-other"}})
}

test_steps_up_are_never_allowed if not passes({"local": {"path": "/mnt/disks/../../etc"}})
