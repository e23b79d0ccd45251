package portcullis.configuration.args_credentials_test

import data.portcullis.configuration.args_credentials

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

container(command, args) := {
	"workload": {"containers": [{"name": "web", "path": "spec.containers[0]", "command": command, "args": args}]},
	"parameters": parameters,
}

test_a_flag_with_a_value_is_found if {
	some finding in args_credentials.deny with input as container([], ["serve", "--db-password=hunter2"])
	finding.msg == "argument 1 of container \"web\" gives a literal value to --db-password"
	finding.path == "spec.containers[0].args[1]"
	finding.fix == [{"op": "set", "path": "spec.containers[0].args[1]", "value": "--db-password=$(CREDENTIAL)"}]
}

test_the_word_after_a_flag_is_found if {
	some finding in args_credentials.deny with input as container([], ["--token", "hunter2"])
	finding.path == "spec.containers[0].args[1]"
	finding.fix == [{"op": "set", "path": "spec.containers[0].args[1]", "value": "$(CREDENTIAL)"}]
}

test_another_flag_after_a_flag_is_fine if count(args_credentials.deny) == 0 with input as container([], ["--token", "--verbose"])

test_a_script_is_found if {
	some finding in args_credentials.deny with input as container(["sh", "-c", "PGPASSWORD=hunter2 psql"], [])
	finding.path == "spec.containers[0].command[2]"
	finding.fix[0].value == "PGPASSWORD=$(CREDENTIAL) psql"
}

test_a_known_format_is_found if {
	some finding in args_credentials.deny with input as container([], [concat("", ["id:", key])])
	finding.msg == "argument 0 of container \"web\" holds a credential: AWS access key"
	finding.fix[0].value == "id:$(CREDENTIAL)"
}

test_references_are_fine if {
	count(args_credentials.deny) == 0 with input as container([], ["--password=$(PASSWORD)", "--token", "$(TOKEN)"])
}

test_no_finding_holds_a_value if {
	every args in [["--password=hunter2"], ["--token", "hunter2"], ["password=hunter2; token=hunter2hunter2"], [sprintf("%s --token=hunter2", [key])]] {
		findings := args_credentials.deny with input as container([], args)
		count(findings) > 0
		not contains(json.marshal(findings), "hunter2")
		not contains(json.marshal(findings), key)
	}
}
