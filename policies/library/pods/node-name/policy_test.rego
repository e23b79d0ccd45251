package portcullis.pods.node_name_test

import data.portcullis.pods.node_name

pod(node, template, operation, door) := {
	"request": {"operation": operation, "door": door},
	"workload": {"path": "spec", "nodeName": node, "template": template},
}

found if count(node_name.deny) == 1

test_a_new_pod_may_not_name_its_node if found with input as pod("node-1", false, "CREATE", "admission")

test_a_placed_pod_has_its_node_from_the_scheduler if {
	not found with input as pod("node-1", false, "UPDATE", "admission")
	not found with input as pod("node-1", false, "CREATE", "audit")
}

test_a_template_never_may if {
	found with input as pod("node-1", true, "UPDATE", "admission")
	found with input as pod("node-1", true, "CREATE", "audit")
}

test_no_node_passes if not found with input as pod("", true, "CREATE", "gate")
