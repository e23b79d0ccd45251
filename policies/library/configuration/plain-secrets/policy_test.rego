package portcullis.configuration.plain_secrets_test

import data.portcullis.configuration.plain_secrets

secret(object) := {"object": object, "parameters": {"harmless": ["^$", "^<.*>$"], "exemptTypes": ["helm.sh/release.v1"]}}

test_data_and_string_data_are_found if {
	findings := plain_secrets.deny with input as secret({"data": {"a": base64.encode("hunter2")}, "stringData": {"b": "hunter2"}})
	{finding.path | some finding in findings} == {"data[a]", "stringData[b]"}
	not contains(json.marshal(findings), "hunter2")
	not contains(json.marshal(findings), base64.encode("hunter2"))
}

test_placeholders_are_fine if {
	count(plain_secrets.deny) == 0 with input as secret({"data": {"a": "", "c": base64.encode("<password>")}, "stringData": {"b": "<password>"}})
}

test_exempt_types_are_fine if {
	count(plain_secrets.deny) == 0 with input as secret({"type": "helm.sh/release.v1", "stringData": {"a": "x"}})
}
