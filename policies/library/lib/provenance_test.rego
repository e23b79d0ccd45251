package portcullis.lib.provenance_test

import data.portcullis.lib.provenance

v02(predicate) := {"authority": "release", "predicateType": "https://slsa.dev/provenance/v0.2", "predicate": predicate}

v1(predicate) := {"authority": "release", "predicateType": "https://slsa.dev/provenance/v1", "predicate": predicate}

asked(external) := v1({"buildDefinition": {"externalParameters": external}})

app := "https://github.com/acme/app"

test_the_builder_stands_elsewhere_in_each_version if {
	provenance.builder(v02({"builder": {"id": "b"}})) == "b"
	provenance.builder(v1({"runDetails": {"builder": {"id": "b"}}})) == "b"
	provenance.builder(v1({"builder": {"id": "b"}})) == ""
	provenance.builder(v02({"runDetails": {"builder": {"id": "b"}}})) == ""
}

test_a_builder_that_is_no_text_is_none if {
	every id in [5, null, ["b"], {"id": "b"}, true] {
		provenance.builder(v1({"runDetails": {"builder": {"id": id}}})) == ""
	}
}

test_repositories_are_written_in_many_ways if {
	every text in [
		app, concat("", [app, ".git"]), concat("", ["git+", app]), concat("", ["git+", app, "@refs/heads/main"]), concat("", ["git+", app, ".git@refs/tags/v1"]),
		concat("", [app, ".git#refs/heads/main"]), concat("", [app, "/"]), concat("", [app, "?x=y"]),
	] {
		provenance.repository(text) == app
	}
}

test_what_is_no_https_address_matches_nothing if {
	every value in ["http://github.com/acme/app", "git@github.com:acme/app.git", "ssh://git@github.com/acme/app", "https://github.com:443@evil.example/acme/app", "https://github.com", "https://GITHUB.com/acme/app", "https://github.com/acme/%2e%2e/x", " https://github.com/acme/app", 5, ["https://github.com/acme/app"], true] {
		provenance.repository(value) == json.marshal(value)
	}
}

test_each_builder_says_what_it_was_asked_to_build_in_its_place if {
	every external in [
		{"workflow": {"repository": app}}, {"source": app}, {"source": {"uri": app}}, {"source": {"repository": app}},
		{"buildConfigSource": {"repository": app}}, {"configSource": {"uri": concat("", [app, ".git#main"])}},
	] {
		provenance.sources(asked(external)) == {app}
	}
	provenance.sources(v02({"invocation": {"configSource": {"uri": app}}})) == {app}
}

test_all_that_was_asked_for_counts if {
	count(provenance.sources(asked({"workflow": {"repository": app}, "source": "https://github.com/evil/app"}))) == 2
}

test_what_was_asked_for_goes_before_what_was_drawn_on if {
	provenance.sources(v02({"invocation": {"configSource": {"uri": app}}, "materials": [{"uri": "git+https://github.com/evil/x"}]})) == {app}
}

test_repositories_drawn_on_count_otherwise if {
	provenance.sources(v02({"materials": [{"uri": concat("", ["git+", app])}, {"uri": "pkg:docker/debian@12"}, {"uri": "https://example.com/a.tgz"}]})) == {app}
	provenance.sources(v1({"buildDefinition": {"resolvedDependencies": [{"uri": concat("", [app, ".git"])}, {"uri": "git://x/y"}]}})) == {app, `"git://x/y"`}
}

test_odd_values_are_sources_that_nobody_allowed if {
	provenance.sources(asked({"workflow": {"repository": [app]}})) == {json.marshal([app])}
	provenance.sources(asked({"source": 5})) == {"5"}
}

test_odd_predicates_are_no_fault if {
	every predicate in ["x", 5, null, [], true, {"buildDefinition": "x"}, {"buildDefinition": {"externalParameters": "x", "resolvedDependencies": "y"}}, {"invocation": [1], "materials": 5}, {"buildDefinition": {"externalParameters": {"workflow": 5}}}] {
		provenance.sources(v1(predicate)) == set()
		provenance.sources(v02(predicate)) == set()
		provenance.builder(v1(predicate)) == ""
		provenance.dependencies(v1(predicate)) == []
	}
}

parameters := {"builders": ["https://b.example/x"], "sources": ["https://github.com/acme/*"], "authorities": ["release"]}

good := v1({"buildDefinition": {"externalParameters": {"source": app}}, "runDetails": {"builder": {"id": "https://b.example/x"}}})

test_one_that_will_do_is_enough if {
	provenance.problems({"attestations": [v1({}), good], "rejected": []}, parameters) == []
}

test_flaws_are_told_apart if {
	provenance.problems({"attestations": [], "rejected": []}, parameters) == ["nobody attested where it was built"]
	provenance.problems({"attestations": [], "rejected": [{"what": "attestation", "reason": "r"}]}, parameters) == ["1 attestation found here does not count: r"]
	provenance.problems({"attestations": [object.union(good, {"authority": "x"})], "rejected": []}, parameters) == ["it is attested by x, who is not asked for provenance"]
	provenance.problems({"attestations": [v1({"runDetails": {"builder": {"id": "https://b.example/x"}}})], "rejected": []}, parameters) == ["it does not say from which source it was built"]
	provenance.problems({"attestations": [good], "rejected": []}, object.union(parameters, {"sources": []})) == ["it was built from https://github.com/acme/app, which is no allowed source"]
	provenance.problems({"attestations": [v1({}), v1("x")], "rejected": []}, parameters) == ["it does not say from which source it was built", "it does not say who built it"]
	provenance.problems({"attestations": [good], "rejected": []}, object.union(parameters, {"builders": []})) == [`it was built by "https://b.example/x", which is no allowed builder`]
}
