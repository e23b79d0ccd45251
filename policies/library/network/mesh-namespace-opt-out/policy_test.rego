package portcullis.network.mesh_namespace_opt_out_test

import data.portcullis.network.mesh_namespace_opt_out

namespace(metadata) := {
	"object": {"metadata": metadata},
	"parameters": {"labels": {"istio-injection": ["disabled"]}, "annotations": {"linkerd.io/inject": ["disabled"]}},
}

test_the_label_is_removed if {
	some finding in mesh_namespace_opt_out.deny with input as namespace({"labels": {"istio-injection": "disabled"}})
	finding.path == "metadata.labels[istio-injection]"
	finding.fix == [{"op": "remove", "path": "metadata.labels[istio-injection]"}]
}

test_labels_and_annotations_are_not_mixed if {
	count(mesh_namespace_opt_out.deny) == 0 with input as namespace({"labels": {"linkerd.io/inject": "disabled"}, "annotations": {"istio-injection": "disabled"}})
}

test_other_values_are_fine if {
	count(mesh_namespace_opt_out.deny) == 0 with input as namespace({"labels": {"istio-injection": "enabled"}})
}
