package portcullis.storage.block_volumes_test

import data.portcullis.storage.block_volumes

request(namespace, spec) := {"parameters": {"namespaces": ["databases"]}, "request": {"namespace": namespace}, "object": {"spec": spec}}

paths contains finding.path if some finding in block_volumes.deny

test_claims_and_claim_templates_are_seen if {
	paths == {"spec.volumeMode"} with input as request("shop", {"volumeMode": "Block"})
	paths == {"spec.volumeClaimTemplates[0].spec.volumeMode"} with input as request("shop", {"volumeClaimTemplates": [{"spec": {"volumeMode": "Block"}}]})
}

test_file_systems_pass if {
	count(paths) == 0 with input as request("shop", {"volumeMode": "Filesystem"})
	count(paths) == 0 with input as request("shop", {})
}

test_allowed_namespaces_pass if count(paths) == 0 with input as request("databases", {"volumeMode": "Block"})
