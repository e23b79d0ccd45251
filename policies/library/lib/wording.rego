# How policies about images put what others wrote (registries, scanners, certificates) into a
# message: never all of it, since a message is one line.
package portcullis.lib.wording

# short cuts a text to 200 characters.
short(text) := text if {
	count(text) <= 200
} else := concat("", [substring(text, 0, 199), "…"])

# few joins the first three of a list of texts, and says how many more there are.
few(texts) := concat("; ", [short(text) | some text in texts]) if {
	count(texts) <= 3
} else := sprintf("%s; and %d more", [concat("; ", [short(text) | some text in array.slice(texts, 0, 3)]), count(texts) - 3])

plural(what, 1) := what

plural(what, n) := concat("", [what, "s"]) if n != 1

# distinct are some texts, each once.
distinct(texts) := [text | some text in {text | some text in texts}]
