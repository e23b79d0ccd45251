package portcullis.namespaces.pod_security_labels_test

import data.portcullis.namespaces.pod_security_labels

namespace(labels, required) := {
	"object": {"metadata": {"labels": labels}},
	"parameters": {"level": "baseline", "requireVersion": required},
}

test_a_missing_level_is_found if {
	some finding in pod_security_labels.deny with input as namespace({}, false)
	finding.path == "metadata.labels[pod-security.kubernetes.io/enforce]"
	finding.fix == [{"op": "set", "path": finding.path, "value": "baseline"}]
}

test_no_labels_at_all_is_found if {
	count(pod_security_labels.deny) == 1 with input as {"object": {"metadata": {}}, "parameters": {"level": "baseline", "requireVersion": false}}
}

test_an_unknown_level_is_found if {
	some finding in pod_security_labels.deny with input as namespace({"pod-security.kubernetes.io/enforce": "strict"}, false)
	finding.msg == "the enforced Pod Security level is \"strict\"; at least baseline is asked for"
}

test_stricter_is_fine if {
	count(pod_security_labels.deny) == 0 with input as namespace({"pod-security.kubernetes.io/enforce": "restricted"}, false)
}

test_laxer_is_found if {
	count(pod_security_labels.deny) == 1 with input as namespace({"pod-security.kubernetes.io/enforce": "privileged"}, false)
}

test_a_version_is_asked_for_only_by_parameter if {
	count(pod_security_labels.deny) == 1 with input as namespace({"pod-security.kubernetes.io/enforce": "baseline"}, true)
}
