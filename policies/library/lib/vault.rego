# Places in Vault, and whose they are.
package portcullis.lib.vault

# own says whether the place is the namespace's own, by a list of places: each with engines, mounts (exact; with {namespace} in one
# the name of the namespace stands there, and then nothing else need carry it), and the position of the segment of the path that carries the namespace, from 0.
own(places) if {
	some entry in places
	input.sync.vault.engine in entry.engines
	some mount in entry.mounts
	input.sync.vault.mount == replace(mount, "{namespace}", input.sync.object.namespace)
	carries(mount, entry.position)
}

# text is the place for people.
text := concat("/", [input.sync.vault.mount, input.sync.vault.path])

carries(mount, _) if contains(mount, "{namespace}")

carries(_, position) if {
	some n, segment in input.sync.vault.segments
	n == position
	names(segment)
}

# names says whether a segment is the name of the namespace. Roles and keys have no slashes in their names: there it may also
# be followed by a dot or an underscore, which no name of a namespace has, so that team-a.web is team-a's and nobody else's. A hyphen
# would not do: team-a-evil is a namespace, too.
names(segment) if segment == input.sync.object.namespace

names(segment) if {
	not startswith(input.sync.vault.engine, "kv-")
	belongs(segment, input.sync.object.namespace)
}

# belongs says whether a name is that of a namespace with something after it.
belongs(name, namespace) if {
	some separator in [".", "_"]
	startswith(name, concat("", [namespace, separator]))
}

# shared says whether the place is one of some patterns of places that are everybody's: "*" is one segment, "**" any number.
shared(patterns) if {
	some pattern in patterns
	glob.match(pattern, ["/"], text)
}
