package portcullis.lib.licences_test

import data.portcullis.lib.licences

list := ["AGPL-*", "SSPL-1.0", "Commons Clause"]

test_denied if {
	every text in [
		"AGPL-3.0-only", "agpl-3.0", "SSPL-1.0", "sspl-1.0", "commons clause", "AGPL-3.0-only OR SSPL-1.0", "MIT AND SSPL-1.0", "SSPL-1.0 WITH some-exception",
		"MIT AND (Apache-2.0 OR SSPL-1.0)", "(AGPL-3.0-only)", "MIT and sspl-1.0 or AGPL-1.0",
	] {
		licences.denial(text, list)
	}
}

test_free if {
	every text in ["MIT", "MIT OR SSPL-1.0", "SSPL-1.0 OR MIT", "SSPL-1.0-or-so", "LAGPL-3.0", "", "Apache-2.0 WITH LLVM-exception", "(MIT OR Apache-2.0)", "OR", "AND"] {
		not licences.denial(text, list)
	}
}

test_the_entry_is_what_is_told if licences.denial("MIT AND agpl-3.0-only", list) == "AGPL-*"

test_nothing_is_denied_by_an_empty_list if not licences.denial("SSPL-1.0", [])

spdx(packages) := {"authority": "release", "predicateType": "https://spdx.dev/Document", "predicate": {"packages": packages}}

cyclonedx(components) := {"authority": "release", "predicateType": "https://cyclonedx.org/bom", "predicate": {"components": components}}

test_what_was_concluded_goes_before_what_is_declared if {
	licences.effective({"licenseConcluded": "MIT", "licenseDeclared": "SSPL-1.0"}) == "MIT"
	every nothing in ["NOASSERTION", "NONE", "", null, 5] {
		licences.effective({"licenseConcluded": nothing, "licenseDeclared": "MIT"}) == "MIT"
	}
	not licences.effective({"licenseConcluded": "NONE", "licenseDeclared": "NOASSERTION"})
	not licences.effective({})
}

test_offenders_by_entry if {
	licences.offenders(spdx([{"name": "a", "licenseConcluded": "SSPL-1.0"}, {"name": "b", "licenseDeclared": "AGPL-1.0"}, {"name": "c", "licenseConcluded": "AGPL-3.0"}, {"name": "d", "licenseConcluded": "MIT"}]), list) == {"SSPL-1.0": ["a"], "AGPL-*": ["b", "c"]}
	licences.offenders(cyclonedx([{"name": "a", "licenses": [{"license": {"id": "MIT"}}, {"expression": "SSPL-1.0"}]}, {"licenses": [{"license": {"name": "commons clause"}}]}]), list) == {"SSPL-1.0": ["a"], "Commons Clause": ["a part without a name"]}
}

test_licences_that_cannot_be_read_are_not_stated if {
	licences.unstated(cyclonedx([{"name": "a", "licenses": [{"license": {"id": "MIT"}}]}])) == 0
	licences.unstated(cyclonedx([{"name": "a"}, {"name": "b", "licenses": "MIT"}, {"name": "c", "licenses": [{"license": {"id": 5}}]}, {"name": "d", "licenses": [{"license": "MIT"}]}, 7])) == 5
	licences.unstated(spdx([{"name": "a", "licenseConcluded": ["MIT"]}])) == 1
}

image(bills) := {"ref": "ghcr.io/acme/app:1", "resolved": "sha256:aa", "path": "p", "attestations": bills, "rejected": []}

test_unknown_licences_have_the_chosen_effect_only if {
	silent := image([spdx([{"name": "a"}])])
	count(licences.unknown(silent, "deny", "deny", ["*"])) == 1
	count(licences.unknown(silent, "warn", "deny", ["*"])) == 0
	count(licences.unknown(silent, "allow", "warn", ["*"])) == 0
	count(licences.unknown(image([spdx([{"name": "a", "licenseConcluded": "MIT"}])]), "deny", "deny", ["*"])) == 0
}

test_a_missing_bill_is_left_to_another_policy_by_choice if {
	count(licences.unbilled(image([]), "deny", ["*"])) == 1
	count(licences.unbilled(image([]), "leave", ["*"])) == 0
}
