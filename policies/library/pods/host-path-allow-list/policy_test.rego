package portcullis.pods.host_path_allow_list_test

import data.portcullis.pods.host_path_allow_list

pod(allowed, path) := {
	"parameters": {"allowed": allowed},
	"workload": {"volumes": [{"name": "host", "type": "hostPath", "hostPath": path, "path": "spec.volumes[0]"}]},
}

passes(allowed, path) if count(host_path_allow_list.deny) == 0 with input as pod(allowed, path)

test_whole_segments_are_compared if {
	passes(["/var/log"], "/var/log")
	passes(["/var/log"], "/var/log/pods")
	passes(["/var/log/"], "/var/log/pods")
	not passes(["/var/log"], "/var/logs")
	not passes(["/var/log"], "/var")
	not passes(["/var/log"], "/")
}

test_the_root_allows_everything if passes(["/"], "/etc")

test_an_empty_list_allows_nothing if not passes([], "/var/log")

test_no_path_at_all_is_not_allowed if not passes(["/var/log"], "")

test_the_fix_keeps_the_name if {
	some finding in host_path_allow_list.deny with input as pod([], "/etc")
	finding.path == "spec.volumes[0].hostPath.path"
	finding.fix == [{"op": "set", "path": "spec.volumes[0]", "value": {"name": "host", "emptyDir": {}}}]
}
