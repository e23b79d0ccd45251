package portcullis.lib.configs_test

import data.portcullis.lib.configs

on(platform, user) := {"platform": platform, "user": user}

test_attestation_manifests_of_an_index_do_not_run if {
	configs.runnable({"configs": [on("linux/amd64", "1"), on("unknown/unknown", "")]}) == [on("linux/amd64", "1")]
}

test_an_image_that_stands_alone_runs if configs.runnable({"configs": [on("unknown/unknown", "")]}) == [on("unknown/unknown", "")]

test_root_has_many_names if {
	every user in ["", "0", "00", "+0", "-0", "root", "0:0", "root:root", ":1000", "0:app"] {
		configs.root(on("linux/amd64", user))
	}
	every user in ["1", "10", "1000:0", "nonroot", "rooty", "app:root", "0x"] {
		not configs.root(on("linux/amd64", user))
	}
	not configs.root(on("windows/amd64", ""))
}
