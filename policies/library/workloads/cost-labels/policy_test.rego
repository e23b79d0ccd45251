package portcullis.workloads.cost_labels_test

import data.portcullis.workloads.cost_labels

pod(labels) := {
	"parameters": {"labels": [{"key": "team", "pattern": "[a-z]+|ops-1", "example": "payments"}]},
	"workload": {"metadataPath": "spec.template.metadata", "labels": [{"key": key, "value": value} | some key, value in labels]},
}

found(labels) if count(cost_labels.deny) == 1 with input as pod(labels)

test_the_fix_sets_the_example if {
	some finding in cost_labels.deny with input as pod({})
	finding.fix == [{"op": "set", "path": "spec.template.metadata.labels[team]", "value": "payments"}]
}

test_the_whole_value_has_to_match if {
	not found({"team": "shop"})
	not found({"team": "ops-1"})
	found({"team": "shop-1"})
	found({"team": "x-ops-1"})
	found({"team": ""})
}

test_another_label_does_not_count if found({"owner": "shop"})
