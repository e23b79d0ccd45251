# What SLSA provenance says: who built an image, from which source, and out of what. Predicates are any
# JSON that an authority signed; whatever is not as the specification has it counts as something that
# nobody allowed.
package portcullis.lib.provenance

import data.portcullis.lib.evidence
import data.portcullis.lib.places
import data.portcullis.lib.wording

# all are the provenance attestations of an image.
all(image) := [attestation |
	some attestation in image.attestations
	attestation.predicateType in {"https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v1"}
]

# builder is who built, "" where the predicate does not say it in a text.
builder(attestation) := id if {
	attestation.predicateType == "https://slsa.dev/provenance/v0.2"
	id := attestation.predicate.builder.id
	is_string(id)
} else := id if {
	attestation.predicateType == "https://slsa.dev/provenance/v1"
	id := attestation.predicate.runDetails.builder.id
	is_string(id)
} else := ""

# sources are the repositories that were built: what the build was asked to build, or, where
# the builder has no place for that (Tekton Chains), every repository it drew on.
sources(attestation) := {repository(value) | some value in declared(attestation)} if {
	count(declared(attestation)) > 0
} else := {repository(entry.uri) | some entry in dependencies(attestation); checkout(entry.uri)}

# Where builders say what they were asked to build. v0.2: "invocation.configSource". v1 leaves it to the build type: GitHub's
# workflows, GitLab and Google Cloud Build, and BuildKit each have a place of their own.
declared(attestation) := {value | value := attestation.predicate.invocation.configSource.uri; given(value)} if {
	attestation.predicateType == "https://slsa.dev/provenance/v0.2"
} else := {value |
	is_object(attestation.predicate.buildDefinition.externalParameters)
	some path in [["workflow", "repository"], ["source"], ["source", "uri"], ["source", "repository"], ["buildConfigSource", "repository"], ["configSource", "uri"]]
	value := object.get(attestation.predicate.buildDefinition.externalParameters, path, null)
	given(value)
}

given(value) if {
	not is_null(value)
	not is_object(value)
	value != ""
}

# dependencies are what the build drew on: {uri, digest}.
dependencies(attestation) := [entry | some entry in attestation.predicate.materials; is_object(entry)] if {
	attestation.predicateType == "https://slsa.dev/provenance/v0.2"
} else := [entry | some entry in attestation.predicate.buildDefinition.resolvedDependencies; is_object(entry)]

# checkout says whether a dependency is a repository of source (SPDX download location, or a URL of git).
checkout(uri) if {
	is_string(uri)
	regex.match(`^git\+|^git://|^ssh://|\.git(?:[@#?/]|$)`, uri)
}

# repository is a repository's address without the ways to write it: git+, .git, and the revision behind
# it. What is no https address stays as it is, in quotes, which no pattern matches.
repository(value) := found[0][1] if {
	is_string(value)
	found := regex.find_all_string_submatch_n(`^(?:git\+)?(https://[a-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~+-]+?)+?)(?:\.git)?/?(?:[@#?].*)?$`, value, 1)
	count(found) > 0
} else := json.marshal(value)

# problems say why no provenance of an image will do; empty if some does.
problems(image, parameters) := [] if {
	some attestation in all(image)
	count(flaws(attestation, parameters)) == 0
} else := array.concat(found, evidence.refused(image, "attestation")) if {
	found := wording.distinct([flaw | some attestation in all(image); some flaw in flaws(attestation, parameters)])
	count(found) + count(evidence.refused(image, "attestation")) > 0
} else := ["nobody attested where it was built"]

strange("") := "it does not say who built it"

strange(id) := sprintf("it was built by %q, which is no allowed builder", [wording.short(id)]) if id != ""

flaws(attestation, parameters) := array.concat(
	[sprintf("it is attested by %s, who is not asked for provenance", [attestation.authority]) | not evidence.by(attestation, parameters.authorities)],
	array.concat(
		[strange(id) | id := builder(attestation); not places.within(id, parameters.builders)],
		array.concat(
			[sprintf("it was built from %s, which is no allowed source", [wording.short(source)]) | some source in sources(attestation); not places.within(source, parameters.sources)],
			["it does not say from which source it was built" | count(sources(attestation)) == 0],
		),
	),
)
