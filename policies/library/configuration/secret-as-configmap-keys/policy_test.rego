package portcullis.configuration.secret_as_configmap_keys_test

import data.portcullis.configuration.secret_as_configmap_keys

parameters := {"formats": [{"name": "PEM private key", "pattern": "-----BEGIN ([A-Z]+ )?PRIVATE KEY-----"}], "files": ["*.p12"]}

pem := concat(" ", ["-----BEGIN", "EC PRIVATE KEY-----\nc2FtcGxl"])

test_a_key_is_found if {
	some finding in secret_as_configmap_keys.deny with input as {"object": {"data": {"tls.pem": pem}}, "parameters": parameters}
	finding.msg == "key tls.pem holds a PEM private key"
	finding.fix == [{"op": "remove", "path": "data[tls.pem]"}]
}

test_a_binary_key_is_found if {
	some finding in secret_as_configmap_keys.deny with input as {"object": {"binaryData": {"tls": base64.encode(pem)}}, "parameters": parameters}
	finding.path == "binaryData[tls]"
}

test_a_key_store_is_found_by_its_name if {
	some finding in secret_as_configmap_keys.deny with input as {"object": {"binaryData": {"client.p12": "AAAA"}}, "parameters": parameters}
	finding.msg == "key client.p12 holds a key file by its name"
}

test_a_certificate_is_fine if {
	count(secret_as_configmap_keys.deny) == 0 with input as {"object": {"data": {"ca.crt": "-----BEGIN CERTIFICATE-----"}}, "parameters": parameters}
}

test_no_finding_holds_the_key if {
	findings := secret_as_configmap_keys.deny with input as {"object": {"data": {"tls.pem": pem}}, "parameters": parameters}
	not contains(json.marshal(findings), "c2FtcGxl")
}
