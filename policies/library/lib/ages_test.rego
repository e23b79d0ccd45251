package portcullis.lib.ages_test

import data.portcullis.lib.ages

now := time.parse_rfc3339_ns("2026-01-01T00:00:00Z")

clock() := now

test_an_hour_ago if ages.seconds("2025-12-31T23:00:00Z") == 3600 with time.now_ns as clock

test_other_zones_and_fractions if ages.seconds("2026-01-01T00:59:59.5+01:00") == 0.5 with time.now_ns as clock

test_leap_days_exist_in_leap_years_only if {
	ages.seconds("2024-02-29T00:00:00Z") > 0 with time.now_ns as clock
	ages.seconds("2000-02-29T00:00:00Z") > 0 with time.now_ns as clock
	not ages.seconds("2025-02-29T00:00:00Z") with time.now_ns as clock
	not ages.seconds("1900-02-29T00:00:00Z") with time.now_ns as clock
}

# What Go would refuse to parse would be a fault of the whole policy.
test_what_is_no_time_has_no_age if {
	bad := [
		"", "now", "2025-13-01T00:00:00Z", "2025-04-31T00:00:00Z", "2025-01-00T00:00:00Z", "2025-01-01T24:00:00Z",
		"2025-01-01T00:00:60Z", "2025-01-01T00:00:00", "2025-01-01", "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z",
		"2025-01-01T00:00:00+24:00", "2025-01-01T00:00:00Z\n", 5, null, ["2025-01-01T00:00:00Z"], {}, true,
	]
	found := [text | some text in bad; ages.seconds(text)] with time.now_ns as clock
	found == []
}

test_a_clock_may_be_a_little_ahead if {
	ages.seconds("2026-01-01T00:05:00Z") == -300 with time.now_ns as clock
	not ages.seconds("2026-01-01T00:05:01Z") with time.now_ns as clock
}

test_within_counts_the_limit_in if {
	ages.within("2025-12-31T23:00:00Z", 3600) with time.now_ns as clock
	not ages.within("2025-12-31T22:59:59Z", 3600) with time.now_ns as clock
	not ages.within("2027-01-01T00:00:00Z", 3600) with time.now_ns as clock
}

test_limits if {
	ages.limit("168h") == 604800
	ages.limit("30m") == 1800
}

test_told if {
	ages.told("2025-12-25T00:00:00Z") == "is 7 days old" with time.now_ns as clock
	ages.told("2025-12-31T21:00:00Z") == "is 3 hours old" with time.now_ns as clock
	ages.told("") == "has no known age" with time.now_ns as clock
	ages.told("2030-01-01T00:00:00Z") == "has no time that could be right" with time.now_ns as clock
}
