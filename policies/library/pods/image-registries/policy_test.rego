package portcullis.pods.image_registries_test

import data.portcullis.pods.image_registries

pod(allowed, registry, repository) := {
	"parameters": {"allowed": allowed},
	"workload": {"images": [{
		"ref": concat("", [registry, "/", repository, ":1"]), "registry": registry, "repository": repository,
		"path": "spec.containers[0].image",
	}]},
}

passes(allowed, registry, repository) if count(image_registries.deny) == 0 with input as pod(allowed, registry, repository)

# bypasses of prefix matches on strings: the k8sallowedrepos research.
test_whole_segments_are_compared if {
	passes(["ghcr.io/acme"], "ghcr.io", "acme/x")
	not passes(["ghcr.io/acme"], "ghcr.io", "acme-evil/x")
	not passes(["ghcr.io/acme"], "ghcr.io.evil.com", "acme/x")
	not passes(["ghcr.io"], "ghcr.io.evil.com", "acme/x")
}

test_a_port_is_part_of_the_registry if {
	passes(["registry.example:5000"], "registry.example:5000", "x")
	not passes(["registry.example"], "registry.example:5000", "x")
	not passes(["registry.example:5000"], "registry.example", "x")
}

test_an_empty_list_allows_nothing_and_offers_no_fix if {
	some finding in image_registries.deny with input as pod([], "docker.io", "library/nginx")
	finding.fix == []
}

test_the_fix_keeps_name_and_version if {
	some finding in image_registries.deny with input as pod(["ghcr.io/acme", "quay.io/acme"], "docker.io", "library/nginx")
	finding.fix == [{"op": "set", "path": "spec.containers[0].image", "value": "ghcr.io/acme/nginx:1"}]
}
