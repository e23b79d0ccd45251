package portcullis.lib.vulnerabilities_test

import data.portcullis.lib.vulnerabilities

v(id, severity, score, fixed) := {
	"id": id, "package": "openssl", "purl": "pkg:deb/debian/openssl@3", "version": "3", "fixed": fixed,
	"status": "affected", "severity": severity, "score": score, "path": "",
}

image := {"ref": "ghcr.io/acme/app:1", "registry": "ghcr.io", "repository": "acme/app", "resolved": "sha256:aa", "path": "spec.containers[0].image"}

today := {"now": "2026-01-01T12:30:00Z"}

ids(list) := [vulnerability.id | some vulnerability in list]

scan := {"vulnerabilities": [v("low", "low", 10, "4"), v("b", "high", 80, "4"), v("a", "high", 70, "4"), v("c", "critical", 90, ""), v("u", "unknown", 0, "4"), v("odd", "CRITICAL", 0, "4")]}

test_the_worst_come_first if {
	ids(vulnerabilities.worst(scan, "high", "none")) == ["c", "b", "a"]
}

test_unknown_and_odd_severities_count_as_chosen if {
	ids(vulnerabilities.worst(scan, "high", "critical")) == ["c", "u", "odd", "b", "a"]
	ids(vulnerabilities.worst(scan, "low", "none")) == ["c", "b", "a", "low"]
}

exempt(vulnerability) if 0 in vulnerabilities.exempt({"vulnerabilities": [vulnerability]})

test_vex_takes_away_what_is_not_there if {
	every status in ["not_affected", "fixed"] {
		exempt({"vex": {"status": status}})
	}
	every status in ["affected", "under_investigation", "", "NOT_AFFECTED"] {
		not exempt({"vex": {"status": status}})
	}
	not exempt({})
}

test_what_is_exempt_is_not_among_the_worst if {
	excused := object.union(v("b", "high", 80, "4"), {"vex": {"status": "not_affected"}})
	ids(vulnerabilities.worst({"vulnerabilities": [excused, v("u", "unknown", 0, "4"), object.union(v("w", "unknown", 0, "4"), {"vex": {"status": "fixed"}})]}, "low", "low")) == ["u"]
}

test_an_ignore_ends_on_its_day if {
	exempt({"ignore": {"expires": "2026-01-02"}}) with input as today
	not exempt({"ignore": {"expires": "2026-01-01"}}) with input as today
	not exempt({"ignore": {"expires": "2025-12-31"}}) with input as today
}

test_an_ignore_without_a_date_is_none if {
	every expires in ["", "never", "9999", "2026-1-2", "2026-01-02 "] {
		not exempt({"ignore": {"expires": expires}}) with input as today
	}
}

test_what_can_be_mended_denies if {
	list := [v("a", "high", 70, "4"), v("c", "critical", 90, "")]
	ids(vulnerabilities.mendable(list, "warn")) == ["a"]
	ids(vulnerabilities.mendable(list, "allow")) == ["a"]
	ids(vulnerabilities.mendable(list, "deny")) == ["a", "c"]
	ids(vulnerabilities.hopeless(list, "warn")) == ["c"]
	ids(vulnerabilities.hopeless(list, "allow")) == []
	ids(vulnerabilities.hopeless(list, "deny")) == []
}

test_a_pods_images_share_what_is_reported if {
	vulnerabilities.share(90, [1]) == 90
	vulnerabilities.share(90, [1, 2, 3, 4]) == 22
	vulnerabilities.share(1, [1, 2, 3]) == 1
}

test_the_rest_is_summed_up if {
	list := [v(sprintf("CVE-%d", [n]), "high", 100 - n, "4") | some n in [1, 2, 3, 4, 5]]
	findings := vulnerabilities.findings(image, list, 3)
	count(findings) == 4
	{finding.details.vulnerability | some finding in findings} == {"CVE-1", "CVE-2", "CVE-3"}
	`image "ghcr.io/acme/app:1" has 2 more such vulnerabilities, none worse than CVE-4 (high)` in {finding.msg | some finding in findings}
	count(vulnerabilities.findings(image, list, 5)) == 5
	count(vulnerabilities.findings(image, [], 5)) == 0
}

test_the_details_tell_vulnerabilities_apart if {
	object.keys(vulnerabilities.details(image, v("a", "high", 70, "4"))) == {"image", "digest", "vulnerability", "package", "purl", "version", "fixed", "severity", "score"}
	odd := object.union(v("a", "high", 70, "4"), {"path": "app.jar", "vex": {"status": "affected", "impact": "x"}})
	details := vulnerabilities.details(image, odd)
	details.file == "app.jar"
	details.vex.status == "affected"
}

test_the_message_says_what_mends_it if {
	vulnerabilities.finding(image, v("CVE-1", "high", 70, "4")).msg == `image "ghcr.io/acme/app:1" has CVE-1 (high) in openssl 3: fixed in 4`
	vulnerabilities.finding(image, v("CVE-1", "high", 70, "")).msg == `image "ghcr.io/acme/app:1" has CVE-1 (high) in openssl 3: no fix (affected)`
	ignored := object.union(v("CVE-1", "high", 70, "4"), {"ignore": {"owner": "me", "expires": "2025-12-31"}})
	endswith(vulnerabilities.finding(image, ignored).msg, "(ignored by me until 2025-12-31, which is over)")
}
