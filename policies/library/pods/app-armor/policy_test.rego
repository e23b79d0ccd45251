package portcullis.pods.app_armor_test

import data.portcullis.pods.app_armor

parameters := {"types": ["RuntimeDefault", "Localhost"]}

pod(security_context, containers, annotations) := {"parameters": parameters, "workload": {
	"securityContext": security_context,
	"containers": containers,
	"appArmorAnnotations": annotations,
}}

profile(type, path) := {"appArmorProfile": {"type": type, "path": path}}

inherited := profile("Unconfined", "spec.securityContext.appArmorProfile")

own(type) := profile(type, "spec.containers[0].securityContext.appArmorProfile")

annotation(value) := [{"container": "app", "value": value, "path": "metadata.annotations[container.apparmor.security.beta.kubernetes.io/app]"}]

test_a_container_that_switches_it_off_is_refused if {
	app_armor.deny == {{
		"msg": `AppArmor profile type "Unconfined" is not allowed`,
		"path": "spec.containers[0].securityContext.appArmorProfile.type",
		"fix": [{"op": "remove", "path": "spec.containers[0].securityContext.appArmorProfile"}],
	}} with input as pod({}, [{"securityContext": own("Unconfined")}], [])
}

test_a_profile_that_two_containers_inherit_is_one_finding if {
	count(app_armor.deny) == 1 with input as pod(inherited, [{"securityContext": inherited}, {"securityContext": inherited}], [])
}

test_the_profile_of_the_pod_counts_even_if_overridden if {
	count(app_armor.deny) == 1 with input as pod(inherited, [{"securityContext": own("Localhost")}], [])
}

test_an_annotation_that_switches_it_off_is_refused if {
	app_armor.deny == {{
		"msg": `annotation sets AppArmor profile "unconfined" for container "app"`,
		"path": "metadata.annotations[container.apparmor.security.beta.kubernetes.io/app]",
		"fix": [{"op": "remove", "path": "metadata.annotations[container.apparmor.security.beta.kubernetes.io/app]"}],
	}} with input as pod({}, [], annotation("unconfined"))
}

test_annotations_of_profiles_that_confine_pass if {
	every value in ["", "runtime/default", "localhost/shop"] {
		count(app_armor.deny) == 0 with input as pod({}, [], annotation(value))
	}
}

test_annotations_nobody_knows_are_refused if {
	every value in ["RuntimeDefault", "Localhost", "runtime/default ", "none"] {
		count(app_armor.deny) == 1 with input as pod({}, [], annotation(value))
	}
}

test_what_the_parameter_allows_passes_in_both_spellings if {
	count(app_armor.deny) == 0 with input as pod({}, [{"securityContext": own("Unconfined")}], annotation("unconfined"))
		with input.parameters as {"types": ["Unconfined"]}
}
