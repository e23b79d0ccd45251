package portcullis.patch.registry_rewrite_test

import data.portcullis.patch.registry_rewrite

pod(registry, repository, tag, digest) := {
	"parameters": {"rewrites": [
		{"from": "docker.io/library", "to": "mirror.example/official"},
		{"from": "docker.io", "to": "mirror.example"},
		{"from": "ghcr.io/acme", "to": "ghcr.io/acme/vetted"},
		{"from": "mirror.example/old", "to": "mirror.example:5000/new"},
	]},
	"request": {"operation": "CREATE"},
	"workload": {"mirror": false, "images": [{
		"registry": registry, "repository": repository, "tag": tag, "digest": digest,
		"container": "", "path": "spec.volumes[1].image.reference",
	}]},
}

rewritten := {edit.set | some edit in registry_rewrite.patch}

test_the_first_rule_that_covers_counts if {
	registry_rewrite.patch == {{
		"path": ["spec", "volumes", 1, "image", "reference"],
		"set": "mirror.example/official/nginx:1.29",
	}} with input as pod("docker.io", "library/nginx", "1.29", "")
}

test_the_rest_of_the_name_stays if {
	rewritten == {"mirror.example/acme/team/app:2"} with input as pod("docker.io", "acme/team/app", "2", "")
}

test_tag_and_digest_stay if {
	rewritten == {"mirror.example/acme/app:2@sha256:00"} with input as pod("docker.io", "acme/app", "2", "sha256:00")
	rewritten == {"mirror.example/acme/app@sha256:00"} with input as pod("docker.io", "acme/app", "", "sha256:00")
}

test_segments_are_compared_whole if {
	rewritten == set() with input as pod("ghcr.io", "acme-evil/app", "1", "")
	rewritten == set() with input as pod("ghcr.io.example", "acme/app", "1", "")
}

test_what_is_rewritten_is_not_rewritten_again if {
	rewritten == {"ghcr.io/acme/vetted/app:1"} with input as pod("ghcr.io", "acme/app", "1", "")
	rewritten == set() with input as pod("ghcr.io", "acme/vetted/app", "1", "")
}

test_where_one_rule_leads_no_other_leads_on if {
	rewritten == set() with input as pod("mirror.example", "old/app", "1", "")
}
