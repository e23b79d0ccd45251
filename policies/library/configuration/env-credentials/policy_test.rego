package portcullis.configuration.env_credentials_test

import data.portcullis.configuration.env_credentials

parameters := {
	"formats": [{"name": "AWS access key", "pattern": "AKIA[0-9A-Z]{16}"}],
	"names": ["password", "token"],
	"harmless": ["^$", "^\\$\\(.*\\)$", "^true$"],
	"minLength": 32,
	"minEntropy": 4.35,
	"maxLength": 256,
}

# put together, so that no scanner takes the test for a leak
key := concat("", ["AKIA", "Q3EGRTWYL7ZBN5XD"])

random := concat("", ["q7Rt2ZpL9xVb4KmW", "8cNdH3sYf6GjT5aE"])

variable(name, value) := {
	"workload": {"containers": [{"name": "web", "env": [{
		"name": name,
		"value": value,
		"source": "value",
		"path": "spec.containers[0].env[0]",
	}]}]},
	"parameters": parameters,
}

test_a_known_format_is_found_under_any_name if {
	some finding in env_credentials.deny with input as variable("ID", key)
	finding.msg == "variable ID of container \"web\" holds a credential: AWS access key"
	finding.path == "spec.containers[0].env[0].value"
}

test_a_telling_name_is_found if {
	some finding in env_credentials.deny with input as variable("DB_PASSWORD", "hunter2")
	finding.fix[1].value == {"name": "replace-with-a-secret", "key": "DB_PASSWORD"}
}

test_a_random_word_is_found if count(env_credentials.deny) == 1 with input as variable("X", random)

test_harmless_values_are_fine if {
	every value in ["", "true", "$(OTHER)"] {
		count(env_credentials.deny) == 0 with input as variable("DB_PASSWORD", value)
	}
}

test_no_finding_holds_the_value if {
	every name, value in {"ID": key, "DB_PASSWORD": "hunter2", "X": random} {
		findings := env_credentials.deny with input as variable(name, value)
		count(findings) == 1
		not contains(json.marshal(findings), value)
	}
}
