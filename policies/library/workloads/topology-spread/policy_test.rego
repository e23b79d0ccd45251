package portcullis.workloads.topology_spread_test

import data.portcullis.workloads.topology_spread

parameters := {"keys": ["kubernetes.io/hostname", "topology.kubernetes.io/zone"], "minimumReplicas": 3}

workload(fields) := {
	"parameters": parameters,
	"workload": object.union({"path": "spec.template.spec", "topologyKeys": [], "labels": [{"key": "app", "value": "shop"}]}, fields),
}

found(fields) if count(topology_spread.deny) == 1 with input as workload(fields)

test_from_the_minimum_on if {
	found({"replicas": 3})
	not found({"replicas": 2})
	not found({})
}

test_one_of_the_keys_is_enough if {
	not found({"replicas": 3, "topologyKeys": ["example.com/rack", "topology.kubernetes.io/zone"]})
	found({"replicas": 3, "topologyKeys": ["example.com/rack"]})
}

test_the_fix_selects_the_pods_by_their_labels if {
	some finding in topology_spread.deny with input as workload({"replicas": 3})
	finding.fix[0].op == "add"
	finding.fix[0].value.labelSelector == {"matchLabels": {"app": "shop"}}
}
