package portcullis.lib.peers_test

import data.portcullis.lib.peers

test_empty_selectors_are_every_pod if {
	peers.every_pod({"namespaceSelector": {}})
	peers.every_pod({"namespaceSelector": {}, "podSelector": {}})
	peers.every_pod({"namespaceSelector": {"matchLabels": {}, "matchExpressions": []}})
}

test_a_label_of_every_namespace_narrows_nothing if {
	peers.every_pod({"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}})
}

test_labels_narrow if {
	not peers.every_pod({"namespaceSelector": {"matchLabels": {"team": "a"}}})
	not peers.every_pod({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "a"}}})
}

test_expressions_narrow if {
	not peers.every_pod({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}})
	not peers.every_pod({"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["a"]}]}})
}

test_pods_of_the_own_namespace_are_not_every_pod if {
	not peers.every_pod({"podSelector": {}})
}

test_rules_are_limited_to_ports if {
	peers.limited({"ports": [{"port": 53, "protocol": "UDP"}, {"port": "dns"}]}, [53, "dns"])
}

test_rules_with_other_ports_are_not_limited if {
	not peers.limited({"ports": [{"port": 53}, {"port": 80}]}, [53])
	not peers.limited({"ports": [{"port": 53, "endPort": 100}]}, [53])
	not peers.limited({"ports": [{"protocol": "UDP"}]}, [53])
	not peers.limited({"ports": []}, [53])
	not peers.limited({}, [53])
}
