package portcullis.pods.resource_claims_test

import data.portcullis.pods.resource_claims

pod(namespace, claims, used) := {
	"parameters": {"namespaces": ["ml-*"]},
	"request": {"namespace": namespace},
	"workload": {
		"path": "spec",
		"resourceClaims": [{"name": claim} | some claim in claims],
		"containers": [{"path": "spec.containers[0]", "resources": {"claims": used}}],
	},
}

test_the_fix_removes_the_uses_too if {
	some finding in resource_claims.deny with input as pod("shop", ["gpu", "nic"], ["gpu", "nic"])
	finding.msg == `the pod claims gpu, nic, which namespace "shop" may not`
	finding.fix == [
		{"op": "remove", "path": "spec.containers[0].resources.claims"},
		{"op": "remove", "path": "spec.resourceClaims"},
	]
}

test_a_claim_that_no_container_uses_is_a_finding if count(resource_claims.deny) == 1 with input as pod("shop", ["gpu"], [])

test_allowed_namespaces_pass if count(resource_claims.deny) == 0 with input as pod("ml-training", ["gpu"], ["gpu"])

test_pods_without_claims_pass if count(resource_claims.deny) == 0 with input as pod("shop", [], [])
