package portcullis.lib.scans_test

import data.portcullis.lib.scans

image(state, queued, replacement) := {
	"ref": "ghcr.io/acme/app:1", "registry": "ghcr.io", "repository": "acme/app", "resolved": "sha256:aa", "path": "spec.containers[0].image",
	"replacement": replacement, "scan": {"state": state, "queued": queued, "retryAfter": 30, "reasons": ["because"]},
}

choices(missing, replacements) := {"missing": missing, "unscannable": "deny", "error": "warn", "replacements": replacements}

live := {"request": {"door": "admission", "dryRun": false}}

gate := {"request": {"door": "gate", "dryRun": false}}

dry := {"request": {"door": "admission", "dryRun": true}}

test_complete_is_no_trouble if not scans.finding(image("complete", false, false))

test_each_state_has_its_own_words if {
	scans.finding(image("missing", true, false)).msg == `image "ghcr.io/acme/app:1" is being scanned: retry in 30 s`
	scans.finding(image("missing", false, false)).msg == `image "ghcr.io/acme/app:1" has no scan that is believed: because`
	scans.finding(image("unscannable", false, false)).msg == `image "ghcr.io/acme/app:1" cannot be scanned: because`
	scans.finding(image("error", false, false)).msg == `the scan of image "ghcr.io/acme/app:1" failed: because`
	scans.finding(image("", false, false)).msg == `the scan of image "ghcr.io/acme/app:1" failed: because`
}

test_each_state_has_its_own_next_step if {
	steps := {scans.finding(image(state, queued, false)).remediation |
		some [state, queued] in [["missing", true], ["missing", false], ["unscannable", false], ["error", false]]
	}
	count(steps) == 4
}

test_only_a_missing_scan_can_be_waited_for if {
	scans.queued(image("missing", true, false).scan)
	not scans.queued(image("missing", false, false).scan)
	not scans.queued(image("error", true, false).scan)
}

test_missing_denies_by_choice if {
	scans.denied(image("missing", false, false), choices("deny", "warn")) with input as gate
	not scans.denied(image("missing", true, false), choices("warn", "warn")) with input as live
}

test_retry_denies_while_a_scan_is_queued if {
	scans.denied(image("missing", true, false), choices("retry", "warn")) with input as gate
}

test_retry_denies_in_the_cluster_though_nothing_is_queued if {
	scans.denied(image("missing", false, false), choices("retry", "warn")) with input as live
}

test_retry_warns_where_nothing_can_be_queued if {
	not scans.denied(image("missing", false, false), choices("retry", "warn")) with input as gate
	not scans.denied(image("missing", false, false), choices("retry", "warn")) with input as dry
}

test_other_states_have_their_own_choice if {
	scans.denied(image("unscannable", false, false), choices("warn", "warn")) with input as live
	not scans.denied(image("error", false, false), choices("deny", "warn")) with input as live
	not scans.denied(image("clean", false, false), choices("deny", "warn")) with input as live
}

test_replacements_are_spared_by_choice if {
	not scans.denied(image("missing", false, true), choices("deny", "warn")) with input as live
	scans.denied(image("missing", false, true), choices("deny", "deny")) with input as live
	not scans.spared(image("missing", false, false), "warn")
}

vendors(number, family, replacement) := object.union(image("complete", false, replacement), {"scan": {"os": {"family": family}, "packages": {"thirdParty": number}}})

test_packages_of_other_vendors_are_counted if {
	scans.unlooked(vendors(1, "debian", false)).msg == `image "ghcr.io/acme/app:1" has 1 package of other vendors than debian: the vulnerability database says nothing about them`
	scans.unlooked(vendors(12, "", false)).msg == `image "ghcr.io/acme/app:1" has 12 packages of other vendors than its distribution: the vulnerability database says nothing about them`
	scans.unlooked(vendors(12, "", false)).details.packages == 12
	not scans.unlooked(vendors(0, "debian", false))
}

test_packages_of_other_vendors_deny_by_choice if {
	scans.unlooked_denied(vendors(1, "debian", false), {"thirdParty": "deny", "replacements": "warn"})
	not scans.unlooked_denied(vendors(1, "debian", false), {"thirdParty": "warn", "replacements": "warn"})
	not scans.unlooked_denied(vendors(1, "debian", true), {"thirdParty": "deny", "replacements": "warn"})
	scans.unlooked_denied(vendors(1, "debian", true), {"thirdParty": "deny", "replacements": "deny"})
}

test_unscanned_is_left_to_another_policy_by_choice if {
	count(scans.unscanned(image("missing", false, false), "deny")) == 1
	count(scans.unscanned(image("missing", false, false), "leave")) == 0
	count(scans.unscanned(image("complete", false, false), "deny")) == 0
}

clock() := time.parse_rfc3339_ns("2026-01-10T00:00:00Z")

aged(state, finished, updated) := object.union(image(state, false, false), {"scan": {"finishedAt": finished, "database": {"updatedAt": updated}}})

stale(state, finished, updated) := n if n := count(scans.stale(aged(state, finished, updated), 86400, 172800)) with time.now_ns as clock

test_scan_and_database_have_their_own_limits if {
	stale("complete", "2026-01-09T00:00:00Z", "2026-01-08T00:00:00Z") == 0
	stale("complete", "2026-01-08T23:59:59Z", "2026-01-08T00:00:00Z") == 1
	stale("complete", "2026-01-09T00:00:00Z", "2026-01-07T23:59:59Z") == 1
	stale("unscannable", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z") == 2
}

test_no_time_is_no_age if {
	every moment in ["", "yesterday", "0001-01-01T00:00:00Z", "2030-01-01T00:00:00Z"] {
		stale("complete", moment, moment) == 2
	}
}

test_what_does_not_exist_is_not_stale if {
	stale("missing", "", "") == 0
	stale("error", "", "") == 0
}

test_the_age_is_told if {
	messages := {finding.msg | some finding in scans.stale(aged("complete", "2026-01-01T00:00:00Z", ""), 86400, 172800)} with time.now_ns as clock
	messages == {
		`the scan of image "ghcr.io/acme/app:1" is 9 days old: at most 24 hours are allowed`,
		`the vulnerability database that image "ghcr.io/acme/app:1" was scanned with has no known age: at most 48 hours are allowed`,
	}
}
