# Names that have segments between slashes (repositories of images and of source, builders), and
# patterns for them.
package portcullis.lib.places

# within says whether one of some patterns stands for a text: "*" is one segment, "**" any number of them,
# all else is exact. A beginning alone never matches: https://github.com/acme/* is not
# https://github.com/acme-evil/app. Texts that climb ("..") match nothing.
within(text, patterns) if {
	some pattern in patterns
	glob.match(pattern, ["/"], text)
	not regex.match(`(^|/)\.{1,2}(/|$)`, text)
}
