package portcullis.pods.image_volumes_test

import data.portcullis.pods.image_volumes

pod(allowed, volume) := {
	"parameters": {"allowed": allowed},
	"workload": {"images": [{
		"ref": "ghcr.io/acme/model:3", "registry": "ghcr.io", "repository": "acme/model",
		"volume": volume, "path": "spec.volumes[2].image.reference",
	}]},
}

test_the_fix_replaces_the_volume if {
	some finding in image_volumes.deny with input as pod([], "model")
	finding.path == "spec.volumes[2].image.reference"
	finding.fix == [{"op": "set", "path": "spec.volumes[2]", "value": {"name": "model", "emptyDir": {}}}]
}

test_whole_segments_are_compared if {
	count(image_volumes.deny) == 0 with input as pod(["ghcr.io/acme"], "model")
	count(image_volumes.deny) == 1 with input as pod(["ghcr.io/ac"], "model")
}

test_images_of_containers_are_left_to_others if count(image_volumes.deny) == 0 with input as pod([], "")
