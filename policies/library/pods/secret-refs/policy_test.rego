package portcullis.pods.secret_refs_test

import data.portcullis.pods.secret_refs

pod(environment, ref) := {
	"parameters": {"forbidEnvironment": environment, "forbiddenNames": ["root-*"]},
	"workload": {"secretRefs": [object.union({"container": "app"}, ref)]},
}

# CVE-2024-3177: envFrom was forgotten.
test_both_ways_into_the_environment_are_seen if {
	count(secret_refs.deny) == 1 with input as pod(true, {"name": "db", "via": "env", "path": "p"})
	count(secret_refs.deny) == 1 with input as pod(true, {"name": "db", "via": "envFrom", "path": "p"})
	count(secret_refs.deny) == 0 with input as pod(false, {"name": "db", "via": "envFrom", "path": "p"})
	count(secret_refs.deny) == 0 with input as pod(true, {"name": "db", "via": "volume", "path": "p"})
}

fixed(via, path) := finding.fix[0] if {
	some finding in secret_refs.deny with input as pod(false, {"name": "root-ca", "via": via, "path": path})
}

test_a_forbidden_name_is_found_in_every_form if {
	fixed("env", "c.env[0].valueFrom.secretKeyRef") == {"op": "remove", "path": "c.env[0]"}
	fixed("envFrom", "c.envFrom[1].secretRef") == {"op": "remove", "path": "c.envFrom[1]"}
	fixed("imagePullSecret", "spec.imagePullSecrets[0]") == {"op": "remove", "path": "spec.imagePullSecrets[0]"}
	fixed("volume", "v[0].secret.items[1]").path == "v[0].secret.secretName"
	fixed("projected", "v[0].projected.sources[0].secret").path == "v[0].projected.sources[0].secret.name"
	fixed("azureFile", "v[0].azureFile.secretName").path == "v[0].azureFile.secretName"
	fixed("csi", "v[0].csi.nodePublishSecretRef").path == "v[0].csi.nodePublishSecretRef.name"
}
