package portcullis.lib.evidence_test

import data.portcullis.lib.evidence

provenance := "https://slsa.dev/provenance/v1"

required := {"name": "acme", "count": 1, "authorities": [
	{"name": "release", "attestations": [{"predicateType": provenance, "maxAge": 3600}]},
	{"name": "security", "attestations": []},
]}

clock() := time.parse_rfc3339_ns("2026-01-01T00:00:00Z")

image(signers, attestations, rejected) := {
	"ref": "ghcr.io/acme/app:1", "registry": "ghcr.io", "repository": "acme/app", "resolved": "sha256:aa", "path": "spec.containers[0].image",
	"signatures": [{"authority": name} | some name in signers],
	"attestations": attestations,
	"rejected": rejected,
}

by(authority, type, moment) := {"authority": authority, "predicateType": type, "time": moment}

refusal(what, reason) := {"what": what, "reason": reason}

test_signatures_count_once_for_each_authority if {
	evidence.signers(image(["release", "release", "stranger"], [], []), required) == {"release"}
}

test_unsigned_tells_nothing_from_not_enough_and_from_refused if {
	evidence.unsigned(image([], [], []), set()) == "nobody signed it"
	evidence.unsigned(image(["release"], [], []), {"release"}) == "it is signed by release only"
	evidence.unsigned(image([], [], [refusal("signature", "bad")]), set()) == "1 signature found here does not count: bad"
	evidence.unsigned(image([], [], [refusal("attestation", "bad")]), set()) == "nobody signed it"
}

test_refused_are_counted_and_cut if {
	evidence.refused(image([], [], [refusal("signature", sprintf("r%d", [n])) | some n in [1, 2, 3, 4, 5]]), "signature") == ["5 signatures found here do not count: r1; r2; r3; and 2 more"]
}

test_equal_refusals_are_told_once if {
	evidence.refused(image([], [], [refusal("signature", "r") | some _ in [1, 2, 3, 4]]), "signature") == ["4 signatures found here do not count: r"]
}

test_an_attester_signed_and_attested if {
	made := [by("release", provenance, "2025-12-31T23:30:00Z")]
	evidence.attesters(image(["release"], made, []), required) == {"release"} with time.now_ns as clock
	evidence.attesters(image([], made, []), required) == set() with time.now_ns as clock
	evidence.attesters(image(["release"], [], []), required) == set() with time.now_ns as clock
}

test_a_time_that_is_old_absent_or_to_come_proves_no_age if {
	every moment in ["2025-12-31T22:00:00Z", "", "2026-01-02T00:00:00Z", "yesterday"] {
		evidence.attesters(image(["release"], [by("release", provenance, moment)], []), required) == set() with time.now_ns as clock
	}
}

test_without_a_limit_any_time_will_do if evidence.current("", 0)

test_the_type_is_compared_exactly if {
	evidence.attesters(image(["release"], [by("release", concat("", [provenance, "/"]), "2025-12-31T23:30:00Z")], []), required) == set() with time.now_ns as clock
}

test_unattested_is_told if {
	evidence.unattested_told(image(["release"], [], []), required) == concat("", ["release has not made the attestation ", provenance, "; security has not signed it"])
	evidence.unattested_told(image(["release", "security"], [by("release", provenance, "")], []), required) == concat("", ["release made the attestation ", provenance, ", but not within the last 1 hours by a trusted time"])
}

test_demanding if {
	evidence.demanding(required)
	not evidence.demanding({"authorities": [{"name": "security", "attestations": []}]})
}

test_unmatched_has_the_chosen_effect_only if {
	lonely := object.union(image([], [], []), {"requirements": []})
	count(evidence.unmatched(lonely, "deny", "deny")) == 1
	count(evidence.unmatched(lonely, "warn", "deny")) == 0
	count(evidence.unmatched(lonely, "allow", "warn")) == 0
	count(evidence.unmatched(object.union(lonely, {"requirements": [required]}), "deny", "deny")) == 0
}

test_by_names_or_by_anybody_trusted if {
	evidence.by({"authority": "release"}, ["release"])
	evidence.by({"authority": "release"}, ["*"])
	not evidence.by({"authority": "release"}, ["rel*"])
	not evidence.by({"authority": "release"}, [])
}

test_demands_in_words if {
	authorities := [{"name": "a"}, {"name": "b"}, {"name": "c"}]
	evidence.demand({"count": 3, "authorities": authorities}) == "a and b and c"
	evidence.demand({"count": 2, "authorities": authorities}) == "2 of a, b, c"
	evidence.demand({"count": 1, "authorities": authorities}) == "a or b or c"
	evidence.demand({"count": 1, "authorities": [{"name": "a"}]}) == "a"
}
