package portcullis.pods.shared_process_namespace_test

import data.portcullis.pods.shared_process_namespace

pod(shared) := {"workload": {"path": "spec.template.spec", "shareProcessNamespace": shared}}

test_sharing_is_a_finding if {
	some finding in shared_process_namespace.deny with input as pod(true)
	finding.fix == [{"op": "remove", "path": "spec.template.spec.shareProcessNamespace"}]
}

test_not_sharing_passes if count(shared_process_namespace.deny) == 0 with input as pod(false)
