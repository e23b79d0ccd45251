# Licences of what is in an image, as a bill of materials says.
package portcullis.lib.licences

import data.portcullis.lib.evidence
import data.portcullis.lib.sboms
import data.portcullis.lib.wording

# stated are the pairs of a licence's text and the number of the part that has it. A part may have several.
stated(attestation, parts) := {[text, n] | some n, part in parts; text := effective(part)} if {
	sboms.format(attestation) == "spdx"
} else := ({[text, n] | some n, part in parts; some entry in part.licenses; text := entry.license.id; is_string(text)} |
	{[text, n] | some n, part in parts; some entry in part.licenses; text := entry.license.name; is_string(text)}) |
	{[text, n] | some n, part in parts; some entry in part.licenses; text := entry.expression; is_string(text)}

# effective is the licence that was concluded, else the one that is declared (SPDX 2.3, sections 7.13 and 7.15).
effective(part) := part.licenseConcluded if {
	asserted(part.licenseConcluded)
} else := part.licenseDeclared if {
	asserted(part.licenseDeclared)
}

asserted(text) if {
	is_string(text)
	not text in {"", "NONE", "NOASSERTION"}
}

# denial is the entry of a deny-list that a licence's text falls under; undefined if it is free to use.
# Letter case does not count (SPDX, annex "License expressions"). Of alternatives one free one
# is enough; where an expression has parentheses, every licence in it counts.
denial(text, list) := entries[0] if {
	entries := [entry | some entry in list; covers(entry, lower(text))]
	count(entries) > 0
} else := entries[0] if {
	regex.match(`[()]`, text)
	entries := [entry | some id in regex.split(`[()\s]+`, lower(text)); some entry in list; covers(entry, id)]
	count(entries) > 0
} else := first[0] if {
	not regex.match(`[()]`, text)
	alternatives := regex.split(`\s+or\s+`, lower(text))
	every alternative in alternatives {
		count(denied_terms(alternative, list)) > 0
	}
	first := denied_terms(alternatives[0], list)
}

denied_terms(alternative, list) := [entry |
	some term in regex.split(`\s+and\s+`, alternative)
	some entry in list
	covers(entry, regex.replace(term, `\s+with\s.*$`, ""))
]

# covers: an entry is a licence, or with a star at its end all that begin so.
covers(entry, text) if lower(entry) == text

covers(entry, text) if {
	endswith(entry, "*")
	startswith(text, lower(trim_suffix(entry, "*")))
}

# offenders are the parts of a bill under each entry of a deny-list that applies to any: by entry, their
# names, the parts' places in the bill giving the order.
offenders(attestation, list) := {entry: names |
	parts := sboms.parts(attestation)
	pairs := stated(attestation, parts)
	texts := {text | some [text, _] in pairs}
	denials := {text: entry | some text in texts; entry := denial(text, list)}
	some entry in {entry | some _, entry in denials}
	names := [sprintf("%v", [object.get(parts[n], "name", "a part without a name")]) | some [text, n] in pairs; denials[text] == entry]
}

# unstated counts the parts of which no licence is stated in a way that can be read.
unstated(attestation) := count(parts) - count({n | some [_, n] in stated(attestation, parts)}) if {
	parts := sboms.parts(attestation)
}

# unbilled objects to an image that has no bill of materials, unless another policy does.
unbilled(image, chosen, authorities) := {{
	"msg": sprintf("the licences in image %q are not known: it has no bill of materials: %s", [image.ref, wording.few(sboms.problems(image, formats, authorities))]),
	"path": image.path,
	"details": evidence.about(image),
} |
	chosen == "deny"
}

# unknown objects to parts whose licence nobody states, where that has the effect at hand.
unknown(image, chosen, effect, authorities) := {{
	"msg": sprintf("image %q has %d %s whose licence is not stated", [image.ref, unstated(bill), wording.plural("package", unstated(bill))]),
	"path": image.path,
	"details": evidence.about(image),
} |
	chosen == effect
	some bill in sboms.filled(image, formats, authorities)
	unstated(bill) > 0
}

formats := ["spdx", "cyclonedx"]
