package portcullis.pods.token_automount_test

import data.portcullis.pods.token_automount

pod(fields) := {
	"parameters": {"allowedServiceAccounts": ["kube-system/*"]},
	"request": {"namespace": object.get(fields, "namespace", "shop")},
	"workload": object.union({"path": "spec", "serviceAccount": "default"}, fields),
}

test_absent_means_mounted if {
	some finding in token_automount.deny with input as pod({})
	finding.fix == [{"op": "set", "path": "spec.automountServiceAccountToken", "value": false}]
}

test_true_is_a_finding if count(token_automount.deny) == 1 with input as pod({"automountServiceAccountToken": true})

test_false_passes if count(token_automount.deny) == 0 with input as pod({"automountServiceAccountToken": false})

test_allowed_accounts_pass if count(token_automount.deny) == 0 with input as pod({"namespace": "kube-system"})
