package portcullis.pods.image_digest_test

import data.portcullis.pods.image_digest

pod(digest) := {"workload": {"images": [{"ref": "docker.io/library/nginx:1.27", "digest": digest, "path": "spec.containers[0].image"}]}}

test_the_fix_has_a_digest_in_the_right_place if {
	some finding in image_digest.deny with input as pod("")
	finding.msg == `image "docker.io/library/nginx:1.27" is not named by digest`
	regex.match(`^docker\.io/library/nginx:1\.27@sha256:[0-9a-f]{64}$`, finding.fix[0].value)
}

test_a_digest_passes if count(image_digest.deny) == 0 with input as pod("sha256:abc")
