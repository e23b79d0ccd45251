package portcullis.lib.bases_test

import data.portcullis.lib.bases

test_package_urls_become_names if {
	every uri, name in {
		"pkg:docker/debian@12": "docker.io/library/debian",
		"pkg:docker/debian": "docker.io/library/debian",
		"pkg:docker/acme/app@1?platform=linux%2Famd64": "docker.io/acme/app",
		"pkg:docker/index.docker.io/debian@12": "docker.io/library/debian",
		"pkg:docker/gcr.io/distroless/static@nonroot": "gcr.io/distroless/static",
		"pkg:docker/localhost%3A5000/base@1": "localhost:5000/base",
		"pkg:docker/localhost/base@1": "localhost/base",
		"pkg:oci/debian@sha256%3Aaa?repository_url=docker.io%2Flibrary%2Fdebian": "docker.io/library/debian",
		"pkg:oci/base@sha256%3Aaa?arch=amd64&repository_url=ghcr.io/acme/base&tag=1": "ghcr.io/acme/base",
		"docker-image://docker.io/library/debian:12": "docker.io/library/debian:12",
	} {
		bases.named(uri) == name
	}
}

test_what_cannot_be_read_keeps_its_scheme_or_encoding if {
	every uri in ["pkg:oci/debian@sha256%3Aaa", "pkg:docker/", "pkg:docker/@12"] {
		bases.named(uri) == uri
	}
	bases.named("pkg:docker/debian%zz@12") == "docker.io/library/debian%zz"
}

parameters := {"allowed": ["docker.io/library/debian"], "layers": [["l1", "l2"], []], "trustLabels": false, "authorities": ["*"]}

config(layers, base) := {"platform": "linux/amd64", "layers": layers, "labels": [{"key": "org.opencontainers.image.base.name", "value": base}]}

image(configs) := {"attestations": [], "rejected": [], "configs": configs}

test_layers_are_compared_from_the_lowest if {
	bases.known(image([config(["l1", "l2", "l3"], "")]), parameters)
	not bases.known(image([config(["l0", "l1", "l2"], "")]), parameters)
	not bases.known(image([config(["l1"], "")]), parameters)
	not bases.known(image([]), parameters)
}

test_an_empty_list_of_layers_is_no_base if not bases.known(image([config(["l9"], "")]), parameters)

test_labels_count_by_choice if {
	trusting := object.union(parameters, {"trustLabels": true})
	not bases.known(image([config([], "debian:12")]), parameters)
	every name in ["debian:12", "debian", "docker.io/library/debian:12-slim", "docker.io/library/debian@sha256:aa", "debian:12@sha256:aa"] {
		bases.known(image([config([], name)]), trusting)
	}
	every name in ["", "evil/debian", "debian.example:443/library/debian", "docker.io/library/debian-evil"] {
		not bases.known(image([config([], name)]), trusting)
	}
	not bases.known(image([config([], "debian"), config([], "alpine")]), trusting)
	not bases.known(image([{"platform": "linux/amd64", "layers": [], "labels": []}]), trusting)
}

test_problems_say_what_is_missing if {
	bases.problems(image([]), parameters) == ["it has no provenance and does not begin with the layers of an allowed image"]
}
