# Upon what an image was built, as its provenance says or as its layers show.
package portcullis.lib.bases

import data.portcullis.lib.configs
import data.portcullis.lib.evidence
import data.portcullis.lib.places
import data.portcullis.lib.provenance
import data.portcullis.lib.wording

# drawn are the images that a build drew on, by canonical name and, where it is given,
# name@sha256:…: {name, pinned}.
drawn(attestation) := [{"name": name, "pinned": pinned(name, entry)} |
	some entry in provenance.dependencies(attestation)
	is_string(entry.uri)
	regex.match(`^(pkg:docker/|pkg:oci/|docker-image://)`, entry.uri)
	name := named(entry.uri)
]

pinned(name, entry) := concat("@sha256:", [name, entry.digest.sha256]) if {
	is_string(entry.digest.sha256)
	regex.match(`^[0-9a-f]{64}$`, entry.digest.sha256)
} else := name

# named is the canonical name of an image that a package URL stands for (package-url specification, types docker
# and oci; BuildKit writes all registries as docker). What cannot be read stays as it is, with its
# scheme, which no name of an image has.
named(uri) := canonical(decoded(found[0][1])) if {
	found := regex.find_all_string_submatch_n(`^pkg:oci/[^?]*\?(?:[^#]*&)?repository_url=([^&#]+)`, uri, 1)
	count(found) > 0
} else := canonical(decoded(found[0][1])) if {
	found := regex.find_all_string_submatch_n(`^(?:pkg:docker/|docker-image://)([^@?#]+)(?:[@?#]|$)`, uri, 1)
	count(found) > 0
} else := uri

# decoded is a text without percent encoding. A broken encoding stays, since decoding it would be a fault.
decoded(text) := urlquery.decode(replace(text, "+", "%2B")) if {
	regex.match(`^(?:[^%]|%[0-9A-Fa-f]{2})*$`, text)
} else := text

canonical(name) := concat("/", ["docker.io", rest]) if {
	some hub in ["docker.io/", "index.docker.io/", "registry-1.docker.io/"]
	startswith(name, hub)
	rest := in_library(trim_prefix(name, hub))
} else := name if {
	regex.match(`^(?:[^/]*[.:][^/]*|localhost)/`, name)
} else := concat("/", ["docker.io", in_library(name)])

in_library(path) := path if {
	contains(path, "/")
} else := concat("/", ["library", path])

# known says whether an image's base is known to be an allowed one, in one of three ways.
known(image, parameters) if {
	some attestation in provenance.all(image)
	count(flaws(attestation, parameters)) == 0
}

known(image, parameters) if {
	runnable := configs.runnable(image)
	count(runnable) > 0
	every config in runnable {
		built_upon(config.layers, parameters.layers)
	}
}

known(image, parameters) if {
	parameters.trustLabels
	runnable := configs.runnable(image)
	count(runnable) > 0
	every config in runnable {
		places.within(labelled(config), parameters.allowed)
	}
}

built_upon(layers, bases) if {
	some base in bases
	count(base) > 0
	array.slice(layers, 0, count(base)) == base
}

# labelled is the base that a label of the image names (OCI image specification, "Pre-Defined Annotation Keys"): the
# builder's own word.
labelled(config) := canonical(names[0]) if {
	names := [regex.replace(label.value, `:[^/@:]*(?:@.*)?$|@.*$`, "") |
		some label in config.labels
		label.key == "org.opencontainers.image.base.name"
	]
	count(names) > 0
} else := ""

flaws(attestation, parameters) := array.concat(
	[sprintf("its provenance is by %s, who is not asked", [attestation.authority]) | not evidence.by(attestation, parameters.authorities)],
	array.concat(
		[sprintf("it draws on %s, which is no allowed image", [wording.short(drawn_on.pinned)]) | some drawn_on in drawn(attestation); not allowed(drawn_on, parameters.allowed)],
		["its provenance names no image that it was built upon" | count(drawn(attestation)) == 0],
	),
)

allowed(drawn_on, patterns) if places.within(drawn_on.name, patterns)

allowed(drawn_on, patterns) if places.within(drawn_on.pinned, patterns)

# problems say why an image's base is not known to be allowed.
problems(image, parameters) := found if {
	found := wording.distinct([flaw | some attestation in provenance.all(image); some flaw in flaws(attestation, parameters)])
	count(found) > 0
} else := array.concat(["it has no provenance and does not begin with the layers of an allowed image"], evidence.refused(image, "attestation"))
