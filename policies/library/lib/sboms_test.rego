package portcullis.lib.sboms_test

import data.portcullis.lib.sboms

bill(type, predicate) := {"authority": "release", "predicateType": type, "predicate": predicate}

cyclonedx(predicate) := bill("https://cyclonedx.org/bom", predicate)

spdx(predicate) := bill("https://spdx.dev/Document", predicate)

filled(attestation) := count(sboms.filled({"attestations": [attestation]}, ["spdx", "cyclonedx"], ["release"]))

test_formats_by_their_types if {
	every type in ["https://spdx.dev/Document", "https://spdx.dev/Document/v2.3", "https://spdx.dev/Document/2.3"] {
		sboms.format(bill(type, {})) == "spdx"
	}
	every type in ["https://cyclonedx.org/bom", "https://cyclonedx.org/bom/v1.6"] {
		sboms.format(bill(type, {})) == "cyclonedx"
	}
	every type in ["https://spdx.dev/Documents", "https://spdx.dev/Document/", "https://spdx.dev/Document/x", "http://cyclonedx.org/bom", "https://cyclonedx.org/bom\n", ""] {
		not sboms.format(bill(type, {}))
	}
}

test_components_within_components if {
	parts := sboms.parts(cyclonedx({"components": [{"name": "a", "components": [{"name": "b", "components": [{"name": "c"}], "licenses": [{"license": {"name": "MIT"}}]}]}, {"name": "d"}]}))
	{part.name | some part in parts} == {"a", "b", "c", "d"}
}

test_a_bill_has_to_list_something if {
	filled(cyclonedx({"components": [{"name": "a"}]})) == 1
	filled(spdx({"packages": [{"name": "a"}]})) == 1
	filled(spdx({"Data": {"packages": [{"name": "a"}]}})) == 1
	every predicate in [{}, {"components": []}, {"packages": []}, "x", 5, null, [], {"components": "x", "packages": 5}, {"components": [1], "packages": [null]}, {"Data": {}}] {
		filled(cyclonedx(predicate)) == 0
		filled(spdx(predicate)) == 0
	}
}

test_each_format_has_its_own_field if {
	filled(cyclonedx({"packages": [{"name": "a"}]})) == 0
	filled(spdx({"components": [{"name": "a"}]})) == 0
}

test_problems_are_told_apart if {
	empty := {"attestations": [], "rejected": []}
	sboms.problems(empty, ["spdx"], ["*"]) == ["nobody attested one"]
	sboms.problems({"attestations": [cyclonedx({"components": [{"name": "a"}]})], "rejected": []}, ["spdx"], ["*"]) == ["that of release is in the format cyclonedx"]
	sboms.problems({"attestations": [spdx({"packages": [{"name": "a"}]})], "rejected": []}, ["spdx"], ["other"]) == ["that of release is not asked for"]
	sboms.problems({"attestations": [spdx({})], "rejected": []}, ["spdx"], ["*"]) == ["that of release lists nothing that can be read"]
}
