package portcullis.configuration.annotation_credentials_test

import data.portcullis.configuration.annotation_credentials

parameters := {
	"formats": [{"name": "AWS access key", "pattern": "AKIA[0-9A-Z]{16}"}],
	"names": ["password", "token"],
	"harmless": ["^$", "^\\$\\(.*\\)$", "^true$"],
	"minLength": 32,
	"minEntropy": 4.35,
}

# put together, so that no scanner takes the test for a leak
key := concat("", ["AKIA", "Q3EGRTWYL7ZBN5XD"])

random := concat("", ["q7Rt2ZpL9xVb4KmW", "8cNdH3sYf6GjT5aE"])

annotated(annotations) := {
	"object": {"metadata": {"annotations": annotations}},
	"parameters": object.union(parameters, {"ignored": ["checksum/*"]}),
}

test_a_telling_name_is_found if {
	some finding in annotation_credentials.deny with input as annotated({"dns.example.com/api-token": "hunter2"})
	finding.msg == "annotation dns.example.com/api-token holds a literal value, though its name says that it is a credential"
	finding.fix == [{"op": "remove", "path": "metadata.annotations[dns.example.com/api-token]"}]
}

test_the_pod_template_is_read_too if {
	some finding in annotation_credentials.deny with input as {
		"object": {"metadata": {}},
		"workload": {"metadataPath": "spec.template.metadata", "annotations": [{"key": "id", "value": key}]},
		"parameters": object.union(parameters, {"ignored": []}),
	}
	finding.path == "spec.template.metadata.annotations[id]"
}

test_ignored_annotations_are_fine if count(annotation_credentials.deny) == 0 with input as annotated({"checksum/token": random})

test_no_finding_holds_the_value if {
	findings := annotation_credentials.deny with input as annotated({"a": key, "b": random, "password": "hunter2"})
	count(findings) == 3
	every value in [key, random, "hunter2"] { not contains(json.marshal(findings), value) }
}
