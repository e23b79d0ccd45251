package portcullis.pods.broad_tolerations_test

import data.portcullis.pods.broad_tolerations

pod(keys) := {
	"parameters": {"keys": ["node-role.kubernetes.io/control-plane"]},
	"workload": {"tolerations": [{"key": key, "path": sprintf("spec.tolerations[%d]", [i])} | some i, key in keys]},
}

test_each_broad_toleration_is_removed if {
	{finding.fix[0].path | some finding in broad_tolerations.deny} == {"spec.tolerations[0]", "spec.tolerations[2]"} with input as pod(["", "dedicated", "node-role.kubernetes.io/control-plane"])
}

test_other_keys_pass if count(broad_tolerations.deny) == 0 with input as pod(["dedicated"])
