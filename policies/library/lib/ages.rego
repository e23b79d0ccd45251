# How old a piece of evidence is. Times come from predicates that others signed: they may
# be anything.
package portcullis.lib.ages

# ahead is how many seconds a clock may be ahead of ours: input.now is cut to the minute, and the
# clocks of build machines, logs and scanners differ by some more.
ahead := 300

# moment is a regular expression for the RFC 3339 times that can be computed with: an existing day,
# no leap second, and a year that fits nanoseconds in 64 bits.
moment := concat("", [
	`^(?:(?:19|20|21)\d\d-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))`,
	`|(?:(?:19|20|21)(?:0[48]|[2468][048]|[13579][26])|2000)-02-29)`,
	`T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$`,
])

# seconds is how long ago a time was; undefined for what is no time, and for one in the
# future: such evidence has no age that a limit could be compared with.
seconds(text) := ago if {
	is_string(text)
	regex.match(moment, text)
	ago := (time.now_ns() - time.parse_rfc3339_ns(text)) / 1000000000
	ago >= 0 - ahead
}

# within says whether a time is known to lie no longer ago than a number of seconds.
within(text, limit) if seconds(text) <= limit

# limit is a parameter like 168h or 30m in seconds.
limit(duration) := time.parse_duration_ns(duration) / 1000000000

# told says how old something is, for a message.
told(text) := sprintf("is %d days old", [floor(seconds(text) / 86400)]) if {
	seconds(text) >= 172800
} else := sprintf("is %d hours old", [floor(seconds(text) / 3600)]) if {
	seconds(text) >= 0 - ahead
} else := "has no known age" if {
	text == ""
} else := "has no time that could be right"
