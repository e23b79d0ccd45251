package portcullis.patch.image_pull_secret_test

import data.portcullis.patch.image_pull_secret

pod(spec) := {
	"parameters": {"names": ["registry", "mirror"]},
	"workload": {"mirror": false},
	"object": {"spec": spec},
}

test_a_pod_without_any_gets_them_in_order if {
	image_pull_secret.patch == {{"path": ["spec", "imagePullSecrets"], "set": [{"name": "registry"}, {"name": "mirror"}]}} with input as pod({})
}

test_those_it_names_stay_in_front if {
	image_pull_secret.patch == {{
		"path": ["spec", "imagePullSecrets"],
		"set": [{"name": "own"}, {"name": "mirror"}, {"name": "registry"}],
	}} with input as pod({"imagePullSecrets": [{"name": "own"}, {"name": "mirror"}]})
}

test_what_is_patched_is_not_patched_again if {
	count(image_pull_secret.patch) == 0 with input as pod({"imagePullSecrets": [{"name": "mirror"}, {"name": "registry"}]})
}

test_no_names_change_nothing if {
	count(image_pull_secret.patch) == 0 with input as pod({}) with input.parameters as {"names": []}
}

test_a_mirror_pod_is_left_alone if {
	count(image_pull_secret.patch) == 0 with input as pod({}) with input.workload as {"mirror": true}
}
