# What the policies about credentials in plain text share: known formats, telling
# names, and how random a text is. Nothing here returns the credential itself.
package portcullis.lib.credentials

# nothing is a regular expression that no text matches, so that an empty list of
# alternatives matches nothing instead of everything.
nothing := `[^\x00-\x{10FFFF}]`

# any_of makes one regular expression of many, each a group of its own so that a flag such
# as (?i) ends with it.
any_of(patterns) := concat("", ["(?:(?:", concat(")|(?:", array.concat([nothing], patterns)), "))"])

# settings are the parameters of a policy, made ready: formats are {name, pattern},
# names what the name of a credential ends with, harmless what a value is that needs
# no hiding. They do not depend on a request: a rule that begins with
# regex.match(settings.named, …) is decided before anything is converted for Rego.
settings(formats, names, harmless, minimum_length, minimum_entropy) := {
	"formats": formats,
	"format": any_of([format.pattern | some format in formats]),
	"named": concat("", ["(?i)", any_of(names), "$"]),
	"assigned": assignment_of(any_of(names)),
	"harmless": any_of(harmless),
	"minimum_length": minimum_length,
	"minimum_entropy": minimum_entropy,
}

# part is what is looked through of a text: all of it, or its beginning and end where it is
# longer than a limit.
part(text, limit) := text if {
	count(text) <= limit
} else := concat("\n", [substring(text, 0, half), substring(text, count(text) - half, -1)]) if {
	half := floor(limit / 2)
}

# shares is how many characters of each of some texts are looked through, given how long they are and
# how much may be in all: whatever they have where that suffices, else an equal share.
# It is undefined where there are so many texts that the shares would say nothing.
shares(lengths, limit) := limit if {
	sum(lengths) <= limit
} else := floor(limit / count(lengths)) if {
	count(lengths) * 512 <= limit
}

# named says whether a name is that of a credential.
named(name, s) if regex.match(s.named, name)

# reason says why a named value is a credential; undefined where it is none.
reason(name, value, s) := sprintf("holds a credential: %s", [format]) if {
	format := known_format(value, s)
} else := "holds a literal value, though its name says that it is a credential" if {
	named(name, s)
	not regex.match(s.harmless, value)
} else := sprintf("holds what looks like a credential: %v bits of entropy per character", [round(bits * 10) / 10]) if {
	bits := randomness(value, s)
}

# known_format is the name of the first known format that occurs in a text. One
# expression for all formats decides about most texts at once.
known_format(text, s) := found[0] if {
	regex.match(s.format, text)
	found := [format.name | some format in s.formats; regex.match(format.pattern, text)]
}

# longest_word is how long a word may be to be judged by its entropy.
longest_word := 256

# randomness is the entropy of a value that looks random: one long word with capitals,
# small letters and digits, and enough entropy. Hexadecimal digests stay below 4 bits.
randomness(value, s) := bits if {
	count(value) >= s.minimum_length
	count(value) <= longest_word
	regex.match("^[A-Za-z0-9+/=_-]+$", value)
	regex.match("[a-z]", value)
	regex.match("[A-Z]", value)
	regex.match("[0-9]", value)
	not regex.match(s.harmless, value)
	bits := entropy(value)
	bits >= s.minimum_entropy
}

# assignments are what a text assigns to credentials: password=…, "token": "…",
# --api-key=…. Each has the name, the text of the assignment and that text masked. The last two groups
# are the value and what follows it without a break, whatever groups the patterns of
# names bring along; password = read(…) is a call.
assignments(text, s) := {assignment |
	some groups in regex.find_all_string_submatch_n(s.assigned, text, -1)
	[value, rest] := array.slice(groups, count(groups) - 2, count(groups))
	not regex.match(s.harmless, value)
	not startswith(rest, "(")
	masked_text := replace(groups[0], concat("", [value, rest]), reference)
	assignment := {"name": groups[1], "text": groups[0], "masked": masked_text}
}

assignment_of(names) := concat("", [
	`(?i)(?:^|[\s,{;&?"'])([\w.-]*`,
	names,
	`)["']?[ \t]*[:=][ \t]*["']?([^\s"'#,;&}()<>$\[\]{]{3,})([^\s"',;&}]*)`,
])

# masked is a text with a reference in place of each credential that is known in it, with the rest
# of its word: a short format may be the beginning of a longer one.
masked(text, s) := strings.replace_n({assignment.text: assignment.masked | some assignment in assignments(rest, s)}, rest) if {
	rest := regex.replace(text, concat("", [s.format, `[^\s"',;]*`]), concat("", ["$", reference]))
}

# reference is how Kubernetes writes a variable in commands and arguments.
reference := "$(CREDENTIAL)"

# entropy is Shannon's, in bits per character: log2(n) - sum(k log2(k)) / n over how
# often, k, each character occurs among n.
entropy(text) := log2(n) - (sum(parts) / n) if {
	characters := split(text, "")
	n := count(characters)
	occurring := {character | some character in characters}
	parts := [part | some character in occurring; k := strings.count(text, character); part := k * log2(k)]
}

powers_of_two := [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]

# log2 of a whole number up to 2047: the power of two below it, and the series of
# ln((1+z)/(1-z)) for the rest, good to six digits.
log2(n) := whole + (2.885390081777927 * ((((z + (z3 / 3)) + (z5 / 5)) + (z7 / 7)) + (z9 / 9))) if {
	whole := max([exponent | some exponent, power in powers_of_two; power <= n])
	mantissa := n / powers_of_two[whole]
	z := (mantissa - 1) / (mantissa + 1)
	z3 := (z * z) * z
	z5 := (z3 * z) * z
	z7 := (z5 * z) * z
	z9 := (z7 * z) * z
}
