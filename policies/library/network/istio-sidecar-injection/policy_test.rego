package portcullis.network.istio_sidecar_injection_test

import data.portcullis.network.istio_sidecar_injection

marked(field, key, value) := {
	"workload": object.union(
		{"metadataPath": "spec.template.metadata", "labels": [], "annotations": []},
		{field: [{"key": key, "value": value}]},
	),
	"parameters": {"annotations": [
		{"key": "traffic.sidecar.istio.io/excludeInboundPorts", "values": ["?*"]},
		{"key": "traffic.sidecar.istio.io/includeInboundPorts", "values": ["", "[!*]*"]},
	]},
}

test_the_label_is_removed_where_it_stands if {
	some finding in istio_sidecar_injection.deny with input as marked("labels", "sidecar.istio.io/inject", "false")
	finding.path == "spec.template.metadata.labels[sidecar.istio.io/inject]"
	finding.fix == [{"op": "remove", "path": finding.path}]
}

test_what_istio_reads_as_yes_is_fine if {
	every value in ["true", "True", "y", "YES", "on", ""] {
		count(istio_sidecar_injection.deny) == 0 with input as marked("annotations", "sidecar.istio.io/inject", value)
	}
}

test_ports_are_judged_by_value if {
	count(istio_sidecar_injection.deny) == 0 with input as marked("annotations", "traffic.sidecar.istio.io/includeInboundPorts", "*")
	count(istio_sidecar_injection.deny) == 1 with input as marked("annotations", "traffic.sidecar.istio.io/includeInboundPorts", "")
	count(istio_sidecar_injection.deny) == 1 with input as marked("annotations", "traffic.sidecar.istio.io/includeInboundPorts", "80,443")
}

test_labels_are_no_annotations if {
	count(istio_sidecar_injection.deny) == 0 with input as marked("labels", "traffic.sidecar.istio.io/excludeInboundPorts", "80")
}
