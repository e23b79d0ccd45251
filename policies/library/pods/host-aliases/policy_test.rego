package portcullis.pods.host_aliases_test

import data.portcullis.pods.host_aliases

pod(aliases) := {"workload": {"path": "spec", "hostAliases": aliases}}

test_all_names_are_said_once if {
	host_aliases.deny == {{
		"msg": "the pod overrides the addresses of api.example.com, db.example.com",
		"path": "spec.hostAliases",
		"fix": [{"op": "remove", "path": "spec.hostAliases"}],
	}} with input as pod([
		{"ip": "203.0.113.7", "hostnames": ["db.example.com", "api.example.com"]},
		{"ip": "203.0.113.8", "hostnames": ["api.example.com"]},
	])
}

test_none_passes if count(host_aliases.deny) == 0 with input as pod([])
