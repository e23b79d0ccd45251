package portcullis.storage.access_modes_test

import data.portcullis.storage.access_modes

request(namespace, spec) := {
	"parameters": {"restricted": ["ReadWriteMany"], "namespaces": ["media"]},
	"request": {"namespace": namespace},
	"object": {"spec": spec},
}

paths contains finding.path if some finding in access_modes.deny

test_claims_and_claim_templates_are_seen if {
	paths == {"spec.accessModes"} with input as request("shop", {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]})
	paths == {"spec.volumeClaimTemplates[0].spec.accessModes"} with input as request("shop", {"volumeClaimTemplates": [{"spec": {"accessModes": ["ReadWriteMany"]}}]})
}

test_other_modes_pass if count(paths) == 0 with input as request("shop", {"accessModes": ["ReadWriteOnce"]})

test_allowed_namespaces_pass if count(paths) == 0 with input as request("media", {"accessModes": ["ReadWriteMany"]})
