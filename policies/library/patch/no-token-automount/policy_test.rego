package portcullis.patch.no_token_automount_test

import data.portcullis.patch.no_token_automount

token := {"name": "kube-api-access-x7k2p", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "kube-root-ca.crt"}}]}}

mount(volume) := {"name": volume, "mountPath": concat("", ["/", volume])}

injected := {
	"initContainers": [{"name": "setup", "volumeMounts": [mount("kube-api-access-x7k2p")]}],
	"containers": [{"name": "app", "volumeMounts": [mount("data"), mount("kube-api-access-x7k2p")]}],
	"volumes": [{"name": "data", "emptyDir": {}}, token],
}

pod(workload, spec) := {
	"parameters": {"kinds": ["Pod", "Deployment"]},
	"workload": object.union({"kind": "Pod", "path": "spec", "mirror": false}, workload),
	"object": {"spec": spec},
}

switched_off := {"path": ["spec", "automountServiceAccountToken"], "set": false}

test_a_pod_that_says_nothing_is_switched_off if {
	no_token_automount.patch == {switched_off} with input as pod({}, {"containers": [{"name": "app"}]})
}

test_the_injected_volume_goes_with_all_its_mounts if {
	no_token_automount.patch == {
		switched_off,
		{"path": ["spec", "volumes", 1], "remove": true},
		{"path": ["spec", "initContainers", 0, "volumeMounts", 0], "remove": true},
		{"path": ["spec", "containers", 0, "volumeMounts", 1], "remove": true},
	} with input as pod({}, injected)
}

test_a_template_is_patched_where_it_lies if {
	{edit.path | some edit in no_token_automount.patch} == {
		["spec", "template", "spec", "automountServiceAccountToken"],
		["spec", "template", "spec", "volumes", 1],
		["spec", "template", "spec", "initContainers", 0, "volumeMounts", 0],
		["spec", "template", "spec", "containers", 0, "volumeMounts", 1],
	} with input as pod({"kind": "Deployment", "path": "spec.template.spec"}, {"template": {"spec": injected}})
}

test_what_only_has_the_name_stays if {
	no_token_automount.patch == {switched_off} with input as pod({}, {
		"containers": [{"name": "app", "volumeMounts": [mount("kube-api-access-data")]}],
		"volumes": [{"name": "kube-api-access-data", "emptyDir": {}}],
	})
}

test_a_token_the_pod_projects_itself_stays if {
	no_token_automount.patch == {switched_off} with input as pod({}, {
		"containers": [{"name": "app", "volumeMounts": [mount("vault")]}],
		"volumes": [object.union(token, {"name": "vault"})],
	})
}

test_a_pod_that_decides_itself_is_left_alone if {
	every decision in [true, false] {
		count(no_token_automount.patch) == 0 with input as pod({"automountServiceAccountToken": decision}, injected)
	}
}

test_a_mirror_pod_is_left_alone if {
	count(no_token_automount.patch) == 0 with input as pod({"mirror": true}, injected)
}

test_kinds_that_are_not_named_are_left_alone if {
	count(no_token_automount.patch) == 0 with input as pod({"kind": "ReplicaSet", "path": "spec.template.spec"}, {"template": {"spec": injected}})
}
