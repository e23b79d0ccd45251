package portcullis.pods.default_service_account_test

import data.portcullis.pods.default_service_account

pod(fields) := {"workload": object.union({"path": "spec", "serviceAccount": "default", "volumes": []}, fields)}

projected := {"volumes": [{"sources": [{"type": "configMap"}, {"type": "serviceAccountToken"}]}], "automountServiceAccountToken": false}

test_absent_automount_gives_a_token if {
	some finding in default_service_account.deny with input as pod({})
	finding.path == "spec.serviceAccountName"
}

test_a_projected_token_is_a_token if count(default_service_account.deny) == 1 with input as pod(projected)

test_two_ways_to_a_token_are_one_finding if {
	count(default_service_account.deny) == 1 with input as pod(object.union(projected, {"automountServiceAccountToken": true}))
}

test_no_token_passes if count(default_service_account.deny) == 0 with input as pod({"automountServiceAccountToken": false})

test_other_accounts_pass if count(default_service_account.deny) == 0 with input as pod({"serviceAccount": "shop"})
