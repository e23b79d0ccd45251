package portcullis.network.dns_policy_test

import data.portcullis.network.dns_policy

workload(policy) := {
	"workload": {"path": "spec.template.spec", "dnsPolicy": policy},
	"parameters": {"allowed": ["ClusterFirst"]},
}

test_the_first_allowed_policy_is_that_of_the_fix if {
	some finding in dns_policy.deny with input as workload("None")
	finding == {
		"msg": "the pod uses dnsPolicy None",
		"path": "spec.template.spec.dnsPolicy",
		"fix": [{"op": "set", "path": "spec.template.spec.dnsPolicy", "value": "ClusterFirst"}],
	}
}

test_allowed_policies_are_fine if {
	count(dns_policy.deny) == 0 with input as workload("ClusterFirst")
}
