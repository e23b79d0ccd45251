package portcullis.network.ingress_class_test

import data.portcullis.network.ingress_class

ingress(annotations, spec) := {"object": {"metadata": {"annotations": annotations}, "spec": spec}, "parameters": {"allowed": ["public"]}}

test_the_first_allowed_class_is_that_of_the_fix if {
	some finding in ingress_class.deny with input as ingress({}, {"ingressClassName": "edge"})
	finding.msg == "class \"edge\" is not allowed"
	finding.fix == [{"op": "set", "path": "spec.ingressClassName", "value": "public"}]
}

test_a_class_has_to_be_named if {
	some finding in ingress_class.deny with input as ingress({}, {})
	finding.msg == "the Ingress names no class, which leaves the choice to the cluster"
}

test_the_annotation_is_replaced_by_the_field if {
	some finding in ingress_class.deny with input as ingress({"kubernetes.io/ingress.class": "edge"}, {})
	count(finding.fix) == 2
}

test_both_forms_are_judged if {
	count(ingress_class.deny) == 2 with input as ingress({"kubernetes.io/ingress.class": "edge"}, {"ingressClassName": "edge"})
}
