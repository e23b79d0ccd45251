package portcullis.workloads.deprecated_apis_test

import data.portcullis.workloads.deprecated_apis

manifest(version, api) := {
	"parameters": {"kubernetesVersion": version, "apis": {"example.io/v1beta1": {"Thing": api}}},
	"object": {"apiVersion": "example.io/v1beta1", "kind": "Thing"},
}

thing := {"replacement": "example.io/v1", "deprecated": "1.9", "removed": "1.12"}

outcome(version, api) := result if {
	result := [count(deprecated_apis.deny), count(deprecated_apis.warn)] with input as manifest(version, api)
}

test_versions_are_compared_as_numbers if {
	outcome("1.8", thing) == [0, 0]
	outcome("1.9", thing) == [0, 1]
	outcome("1.11", thing) == [0, 1]
	outcome("1.12", thing) == [1, 0]
	outcome("1.100", thing) == [1, 0]
}

test_what_is_never_removed_stays_a_warning if outcome("1.37", {"replacement": "example.io/v1", "deprecated": "1.9"}) == [0, 1]

test_what_nothing_replaces_has_no_fix if {
	some finding in deprecated_apis.deny with input as manifest("1.37", {"deprecated": "1.9", "removed": "1.12"})
	finding.msg == "example.io/v1beta1 Thing is gone since Kubernetes 1.12; it is replaced by nothing"
	finding.fix == []
}

test_what_is_not_in_the_table_passes if {
	request := {"parameters": {"kubernetesVersion": "1.37", "apis": {}}, "object": {"apiVersion": "v1", "kind": "Pod"}}
	count(deprecated_apis.deny | deprecated_apis.warn) == 0 with input as request
}
