# What signatures and attestations of an image amount to. All that is listed in
# image.signatures and image.attestations is verified: by an authority that the bundle's trust names
# for the image, over the image's digest. What else was found is in image.rejected.
package portcullis.lib.evidence

import data.portcullis.lib.ages
import data.portcullis.lib.wording

# name is the image by digest, as the commands that sign and attest take it.
name(image) := sprintf("%s/%s@%s", [image.registry, image.repository, image.resolved])

# about are the details that a finding about an image has at least.
about(image) := {"image": image.ref, "digest": image.resolved}

# signers are the authorities of a requirement that signed the image.
signers(image, required) := {authority.name |
	some authority in required.authorities
	some signature in image.signatures
	signature.authority == authority.name
}

# demand says of whom a requirement wants something, for a message.
demand(required) := concat(" and ", [authority.name | some authority in required.authorities]) if {
	required.count == count(required.authorities)
} else := concat(" or ", [authority.name | some authority in required.authorities]) if {
	required.count == 1
} else := sprintf("%d of %s", [required.count, concat(", ", [authority.name | some authority in required.authorities])])

# unsigned says what was found where signatures are missing.
unsigned(image, present) := concat(", and ", array.concat(verified, refused(image, "signature"))) if {
	verified := [sprintf("it is signed by %s only", [concat(", ", present)]) | count(present) > 0]
	count(verified) + count(refused(image, "signature")) > 0
} else := "nobody signed it"

# refused says what signatures or attestations were found and do not count: a list of at
# most one text.
refused(image, what) := [sprintf("%d %s found here %s not count: %s", [count(reasons), wording.plural(what, count(reasons)), verb(count(reasons)), wording.few(wording.distinct(reasons))])] if {
	reasons := [rejection.reason | some rejection in image.rejected; rejection.what == what]
	count(reasons) > 0
} else := []

verb(1) := "does"

verb(n) := "do" if n != 1

# unmatched objects to an image that no requirement of the bundle is about, where that has the
# effect at hand.
unmatched(image, chosen, effect) := {{
	"msg": sprintf("nobody is trusted to sign image %q: no requirement of the bundle is about it", [image.ref]),
	"path": image.path,
	"remediation": "Use an image that a requirement of the bundle is about, or have one added to trust.requirements in bundle.yaml.",
	"details": about(image),
} |
	chosen == effect
	count(image.requirements) == 0
}

# demanding says whether a requirement wants attestations of somebody.
demanding(required) if {
	some authority in required.authorities
	count(authority.attestations) > 0
}

# attesters are the authorities of a requirement that signed the image and made all the
# attestations that they have to make.
attesters(image, required) := {authority.name |
	some authority in required.authorities
	authority.name in signers(image, required)
	count(unattested(image, authority)) == 0
}

# unattested says which attestations an authority has not made, or too long ago.
unattested(image, authority) := [sprintf("%s %s", [name, lack(image, name, demanded)]) |
	name := authority.name
	some demanded in authority.attestations
	not made(image, name, demanded)
]

made(image, authority, demanded) if {
	some attestation in image.attestations
	attestation.authority == authority
	attestation.predicateType == demanded.predicateType
	current(attestation.time, demanded.maxAge)
}

# current: what has an age limit and no trusted time is too old.
current(_, 0)

current(moment, limit) if {
	limit > 0
	ages.within(moment, limit)
}

lack(image, authority, demanded) := sprintf("made the attestation %s, but not within the last %d hours by a trusted time", [wording.short(demanded.predicateType), floor(demanded.maxAge / 3600)]) if {
	some attestation in image.attestations
	attestation.authority == authority
	attestation.predicateType == demanded.predicateType
} else := sprintf("has not made the attestation %s", [wording.short(demanded.predicateType)])

# by is true of an attestation by one of some authorities; "*" is any that the bundle's
# trust names for the image.
by(_, authorities) if "*" in authorities

by(attestation, authorities) if attestation.authority in authorities

unsigned_by(name, present) := [sprintf("%s has not signed it", [name]) | not name in present]

# unattested_told says what is missing of the authorities of a requirement.
unattested_told(image, required) := wording.few(array.concat(refused(image, "attestation"), missing)) if {
	present := signers(image, required)
	missing := [text |
		some authority in required.authorities
		some text in array.concat(unsigned_by(authority.name, present), unattested(image, authority))
	]
}
