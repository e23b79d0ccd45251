package portcullis.pods.image_latest_tag_test

import data.portcullis.pods.image_latest_tag

pod(tag, digest) := {
	"parameters": {"tags": ["latest", "main"]},
	"workload": {"images": [{
		"ref": concat("", ["ghcr.io/acme/app:", tag]), "registry": "ghcr.io", "repository": "acme/app",
		"tag": tag, "digest": digest, "path": "spec.containers[0].image",
	}]},
}

test_every_listed_tag_is_objected_to if {
	every tag in ["latest", "main"] { count(image_latest_tag.deny) == 1 with input as pod(tag, "") }
}

test_the_fix_names_a_version if {
	some finding in image_latest_tag.deny with input as pod("latest", "")
	finding.fix == [{"op": "set", "path": "spec.containers[0].image", "value": "ghcr.io/acme/app:1.0.0"}]
}

test_versions_pass if count(image_latest_tag.deny) == 0 with input as pod("latest-1", "")

test_beside_a_digest_a_tag_is_only_a_comment if count(image_latest_tag.deny) == 0 with input as pod("latest", "sha256:abc")
