package portcullis.rbac.csr_approval_test

import data.portcullis.rbac.csr_approval

role(resource, verbs) := {"object": {"rules": [{"apiGroups": ["certificates.k8s.io"], "resources": [resource], "verbs": verbs}]}}

test_approving_is_found if {
	some finding in csr_approval.deny with input as role("certificatesigningrequests/approval", ["get", "update"])
	finding.msg == "rule 0 grants update on certificatesigningrequests/approval"
	finding.fix == [{"op": "set", "path": "rules[0].verbs", "value": ["get"]}]
}

test_signers_are_found if count(csr_approval.deny) == 1 with input as role("signers", ["approve"])

test_a_wildcard_is_one_finding if count(csr_approval.deny) == 1 with input as role("*", ["*"])

test_asking_for_a_certificate_is_fine if {
	count(csr_approval.deny) == 0 with input as role("certificatesigningrequests", ["create", "update"])
}
