package portcullis.configuration.configmap_credentials_test

import data.portcullis.configuration.configmap_credentials

parameters := {
	"formats": [{"name": "AWS access key", "pattern": "AKIA[0-9A-Z]{16}"}],
	"names": ["password", "token"],
	"harmless": ["^$", "^\\$\\(.*\\)$", "^true$"],
	"minLength": 32,
	"minEntropy": 4.35,
	"maxLength": 4096,
}

# put together, so that no scanner takes the test for a leak
key := concat("", ["AKIA", "Q3EGRTWYL7ZBN5XD"])

random := concat("", ["q7Rt2ZpL9xVb4KmW", "8cNdH3sYf6GjT5aE"])

configmap(entries) := {"object": {"data": entries}, "parameters": parameters}

test_a_telling_key_is_found if {
	some finding in configmap_credentials.deny with input as configmap({"db.password": "hunter2", "user": "shop"})
	finding.msg == "key db.password holds a literal value, though its name says that it is a credential"
	finding.fix == [{"op": "remove", "path": "data[db.password]"}]
}

test_a_known_format_is_found_inside_a_text if {
	some finding in configmap_credentials.deny with input as configmap({"app.conf": sprintf("region=eu\nid=%s\n", [key])})
	finding.msg == "key app.conf holds a credential: AWS access key"
}

test_binary_data_is_looked_into if {
	some finding in configmap_credentials.deny with input as {"object": {"binaryData": {"app": base64.encode(key)}}, "parameters": parameters}
	finding.path == "binaryData[app]"
}

test_a_random_word_is_found if count(configmap_credentials.deny) == 1 with input as configmap({"x": random})

test_an_assignment_in_a_text_warns if {
	some finding in configmap_credentials.warn with input as configmap({"app.conf": "user=shop\ndb.password=hunter2\n"})
	finding.msg == "key app.conf gives a literal value to db.password"
	count(configmap_credentials.deny) == 0 with input as configmap({"app.conf": "db.password=hunter2\n"})
}

test_no_finding_holds_a_value if {
	every name, value in {"password": "hunter2", "app.conf": "password=hunter2"} {
		findings := configmap_credentials.deny | configmap_credentials.warn with input as configmap({name: value})
		not contains(json.marshal(findings), "hunter2")
	}
	findings := configmap_credentials.deny with input as configmap({"x": random, "y": key})
	count(findings) == 2
	not contains(json.marshal(findings), random)
	not contains(json.marshal(findings), key)
}
