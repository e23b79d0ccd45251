package portcullis.pods.runtime_class_test

import data.portcullis.pods.runtime_class

pod(class, required, allowed) := {
	"parameters": {"required": required, "allowed": allowed},
	"workload": {"path": "spec", "runtimeClass": class},
}

test_listed_classes_pass if count(runtime_class.deny) == 0 with input as pod("kata", true, ["gvisor", "kata"])

test_other_classes_are_named if {
	some finding in runtime_class.deny with input as pod("runc", false, ["gvisor"])
	finding.msg == `runtime class "runc" is not allowed`
	finding.fix == [{"op": "set", "path": "spec.runtimeClassName", "value": "gvisor"}]
}

test_none_is_a_finding_only_where_one_is_required if {
	count(runtime_class.deny) == 0 with input as pod("", false, ["gvisor"])
	count(runtime_class.deny) == 1 with input as pod("", true, ["gvisor"])
}

test_an_empty_list_allows_none_and_offers_no_fix if {
	some finding in runtime_class.deny with input as pod("gvisor", false, [])
	finding.fix == []
}
