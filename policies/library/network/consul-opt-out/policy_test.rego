package portcullis.network.consul_opt_out_test

import data.portcullis.network.consul_opt_out

annotated(key, value) := {
	"workload": {"metadataPath": "spec.template.metadata", "annotations": [{"key": key, "value": value}]},
	"parameters": {"annotations": [
		{"key": "consul.hashicorp.com/connect-inject", "values": ["false"]},
		{"key": "example.com/skip-ports", "values": ["?*"]},
	]},
}

test_the_annotation_is_removed_where_it_stands if {
	some finding in consul_opt_out.deny with input as annotated("consul.hashicorp.com/connect-inject", "false")
	finding == {
		"msg": "consul.hashicorp.com/connect-inject: false takes the pod or some of its traffic out of the mesh",
		"path": "spec.template.metadata.annotations[consul.hashicorp.com/connect-inject]",
		"fix": [{"op": "remove", "path": "spec.template.metadata.annotations[consul.hashicorp.com/connect-inject]"}],
	}
}

test_patterns_match_the_whole_value if {
	count(consul_opt_out.deny) == 0 with input as annotated("consul.hashicorp.com/connect-inject", "xfalse")
}

test_any_value_but_the_empty_one if {
	count(consul_opt_out.deny) == 1 with input as annotated("example.com/skip-ports", "25,587")
	count(consul_opt_out.deny) == 0 with input as annotated("example.com/skip-ports", "")
}
