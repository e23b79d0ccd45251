package portcullis.network.linkerd_opt_out_test

import data.portcullis.network.linkerd_opt_out

annotated(key, value) := {
	"workload": {"metadataPath": "spec.template.metadata", "annotations": [{"key": key, "value": value}]},
	"parameters": {"annotations": [
		{"key": "linkerd.io/inject", "values": ["disabled"]},
		{"key": "example.com/skip-ports", "values": ["?*"]},
	]},
}

test_the_annotation_is_removed_where_it_stands if {
	some finding in linkerd_opt_out.deny with input as annotated("linkerd.io/inject", "disabled")
	finding == {
		"msg": "linkerd.io/inject: disabled takes the pod or some of its traffic out of the mesh",
		"path": "spec.template.metadata.annotations[linkerd.io/inject]",
		"fix": [{"op": "remove", "path": "spec.template.metadata.annotations[linkerd.io/inject]"}],
	}
}

test_patterns_match_the_whole_value if {
	count(linkerd_opt_out.deny) == 0 with input as annotated("linkerd.io/inject", "xdisabled")
}

test_any_value_but_the_empty_one if {
	count(linkerd_opt_out.deny) == 1 with input as annotated("example.com/skip-ports", "25,587")
	count(linkerd_opt_out.deny) == 0 with input as annotated("example.com/skip-ports", "")
}
