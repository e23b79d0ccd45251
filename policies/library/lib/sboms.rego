# What software bills of materials say. They are any JSON that an authority signed.
package portcullis.lib.sboms

import data.portcullis.lib.evidence
import data.portcullis.lib.wording

# format is spdx or cyclonedx; a version may follow the type. Undefined for other attestations.
format(attestation) := "spdx" if {
	regex.match(`^https://spdx\.dev/Document(?:/v?[0-9.]+)?$`, attestation.predicateType)
} else := "cyclonedx" if {
	regex.match(`^https://cyclonedx\.org/bom(?:/v?[0-9.]+)?$`, attestation.predicateType)
}

# document is the bill itself, which old versions of cosign put into a field Data.
document(attestation) := attestation.predicate.Data if {
	is_object(attestation.predicate.Data)
} else := attestation.predicate

# parts are the packages or components that a bill lists. SPDX 2: "packages"; CycloneDX: "components", which
# may have components of their own.
parts(attestation) := [part | some part in document(attestation).packages] if {
	format(attestation) == "spdx"
} else := array.concat(upper, nested) if {
	format(attestation) == "cyclonedx"
	upper := [part | some part in document(attestation).components]
	nested := [part |
		some top in upper
		top.components
		walk(top.components, [path, part])
		count(path) > 0
		is_number(path[count(path) - 1])
		part.name
	]
}

# filled are the bills of an image, in one of some formats, by one of some authorities, that list
# anything. An empty one says nothing.
filled(image, formats, authorities) := [attestation |
	some attestation in image.attestations
	format(attestation) in formats
	evidence.by(attestation, authorities)
	readable(attestation)
]

readable(attestation) if parts(attestation)[_].name

# problems say why no bill of an image will do.
problems(image, formats, authorities) := array.concat(found, evidence.refused(image, "attestation")) if {
	found := wording.distinct([flaw |
		some attestation in image.attestations
		format(attestation)
		some flaw in flaws(attestation, formats, authorities)
	])
	count(found) + count(evidence.refused(image, "attestation")) > 0
} else := ["nobody attested one"]

flaws(attestation, formats, authorities) := array.concat(
	[sprintf("that of %s is not asked for", [attestation.authority]) | not evidence.by(attestation, authorities)],
	array.concat(
		[sprintf("that of %s is in the format %s", [attestation.authority, form]) | form := format(attestation); not form in formats],
		[sprintf("that of %s lists nothing that can be read", [attestation.authority]) | not readable(attestation)],
	),
)
