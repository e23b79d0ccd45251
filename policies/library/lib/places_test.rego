package portcullis.lib.places_test

import data.portcullis.lib.places

test_whole_names_match if places.within("https://github.com/acme/app", ["https://github.com/acme/app"])

test_a_star_is_one_segment if {
	places.within("https://github.com/acme/app", ["https://github.com/acme/*"])
	not places.within("https://github.com/acme/app/x", ["https://github.com/acme/*"])
	not places.within("https://github.com/acme", ["https://github.com/acme/*"])
}

test_two_stars_are_any_number if places.within("gcr.io/distroless/static/debian12", ["gcr.io/distroless/**"])

test_a_beginning_is_not_enough if {
	every name in ["https://github.com/acme-evil/app", "https://github.com.evil.example/acme/app", "xhttps://github.com/acme/app", "https://github.com/acmes"] {
		not places.within(name, ["https://github.com/acme/*", "https://github.com/acme"])
	}
}

test_names_do_not_climb if {
	every name in ["https://github.com/acme/../evil", "https://github.com/acme/./x", "https://github.com/acme/.."] {
		not places.within(name, ["https://github.com/**"])
	}
	places.within("https://github.com/acme/.github", ["https://github.com/acme/*"])
}

test_nothing_is_within_an_empty_list if not places.within("a", [])
