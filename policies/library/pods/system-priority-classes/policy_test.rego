package portcullis.pods.system_priority_classes_test

import data.portcullis.pods.system_priority_classes

pod(namespace, class) := {
	"parameters": {"namespaces": ["kube-system"]},
	"request": {"namespace": namespace},
	"workload": {"path": "spec", "priorityClass": class},
}

test_tenants_may_not if {
	some finding in system_priority_classes.deny with input as pod("shop", "system-node-critical")
	finding.msg == `namespace "shop" may not use priority class "system-node-critical"`
	finding.fix == [{"op": "remove", "path": "spec.priorityClassName"}]
}

test_the_system_may if count(system_priority_classes.deny) == 0 with input as pod("kube-system", "system-node-critical")

test_other_classes_pass if {
	every class in ["", "high", "my-system-class"] { count(system_priority_classes.deny) == 0 with input as pod("shop", class) }
}
