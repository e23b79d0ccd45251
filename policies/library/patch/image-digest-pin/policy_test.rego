package portcullis.patch.image_digest_pin_test

import data.portcullis.patch.image_digest_pin

digest := "sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"

request(operation, template, controllers, known) := {
	"parameters": {"controllers": controllers},
	"request": {"operation": operation, "subresource": ""},
	"workload": {"mirror": false, "template": template},
	"images": [{"path": "spec.template.spec.containers[0].image", "container": "app", "text": "app:1", "digest": known, "resolved": digest}],
}

pinned := {{"path": ["spec", "template", "spec", "containers", 0, "image"], "set": concat("@", ["app:1", digest])}}

test_templates_are_left_alone_by_default if {
	count(image_digest_pin.patch) == 0 with input as request("CREATE", true, false, "")
}

test_templates_are_pinned_by_choice_and_when_they_change if {
	image_digest_pin.patch == pinned with input as request("CREATE", true, true, "")
	image_digest_pin.patch == pinned with input as request("UPDATE", true, true, "")
}

test_pods_are_pinned_when_they_are_made if {
	image_digest_pin.patch == pinned with input as request("CREATE", false, false, "")
	count(image_digest_pin.patch) == 0 with input as request("UPDATE", false, false, "")
}

test_what_is_pinned_is_left_alone if {
	count(image_digest_pin.patch) == 0 with input as request("CREATE", false, true, digest)
}
