# METADATA
# title: Runtime events
# description: |
#   What policies about events share: output fields of Falco that may be missing or of another type, the process, file
#   and destination of an event, who is excepted, and the actions that follow. Fields are what a node's Falco says:
#   nothing here fails on one that it did not expect.
package portcullis.lib.events

import data.portcullis.lib.places
import data.portcullis.lib.wording

# text is an output field, "" where it is missing or no text.
text(field) := value if {
	value := input.event.fields[field]
	is_string(value)
} else := ""

# truth says that an output field is true, by its JSON type or, as gRPC sends it, in words.
truth(field) if input.event.fields[field] == true

truth(field) if lower(text(field)) == "true"

# names are those by which the process is known, each with and without the version at its end (python3.12, python): what it calls itself
# (proc.name, which it can change) and what its executable is called.
names := {name |
	some field in ["proc.name", "proc.exepath", "proc.exe"]
	path := text(field)
	path != ""
	parts := split(path, "/")
	whole := parts[count(parts) - 1]
	some name in [whole, trim_right(whole, "0123456789.-")]
	name != ""
}

# process is the best name for a message. Command lines are no part of messages: they can hold passwords.
process := executable if {
	executable := text("proc.exepath")
	executable != ""
} else := name if {
	name := text("proc.name")
	name != ""
} else := "a process"

# runs says that the process has one of some names. Lists of names are compared and not matched: globs cost a hundred times as much, and
# of each event.
runs(programs) if {
	some name in names
	name in programs
}

# command says that the command line of the process, or of its parent, matches a regular expression.
command(expression) if {
	some field in ["proc.cmdline", "proc.args", "proc.pcmdline", "evt.args"]
	regex.match(expression, text(field))
}

# file is the path that was opened, linked to or written, "" for none.
file := first([path | some field in paths; path := text(field); startswith(path, "/")])

paths := ["fd.name", "fs.path.name", "evt.arg.target", "evt.arg.oldpath"]

# touches says that the event is about a file of some globs, in which * is any run of characters.
touches(files) if {
	some field in paths
	path := text(field)
	path != ""
	some pattern in files
	glob.match(pattern, null, path)
}

# destination is the address that was connected to, "" where it is not known or none: the server's, the remote one, or the end of
# the tuple 10.0.0.1:40000->192.0.2.1:443.
destination := first([address |
	some given in array.concat([text("fd.sip"), text("fd.rip")], ends)
	address := trim_prefix(lower(given), "::ffff:")
	is_address(address)
])

first(texts) := texts[0] if count(texts) > 0 else := ""

# whereto is the destination for a message.
whereto := destination if destination != "" else := "somewhere"

ends := [end | some match in regex.find_all_string_submatch_n(`->\[?([0-9A-Fa-f:.]+?)\]?:[0-9]+$`, text("fd.name"), 1); end := match[1]]

is_address(address) if net.cidr_is_valid(host(address))

host(address) := concat("/", [address, "32"]) if not contains(address, ":")

host(address) := concat("/", [address, "128"]) if contains(address, ":")

# in_networks says that the destination is in one of some networks (CIDR).
in_networks(networks) if {
	destination != ""
	some network in networks
	net.cidr_is_valid(network)
	net.cidr_contains(network, host(destination))
}

# hosts are the names that Falco resolved for the destination.
hosts := {name | some field in ["fd.sip.name", "fd.rip.name"]; name := trim_suffix(lower(text(field)), "."); name != ""}

# in_domains says that the destination has the name of one of some domains, or one below it.
in_domains(domains) if {
	some name in hosts
	some domain in domains
	endswith(concat("", [".", name]), concat("", [".", domain]))
}

# repository is the image of the container less its tag and digest, in canonical form: docker.io/library/nginx. It is that of
# the pod, never what the event says.
repository := regex.replace(input.event.container.image, `(:[^/@:]+)?(@[^/@]+)?$`, "")

# excepted says that one of a policy's exceptions covers the event.
excepted(except) if {
	some pattern in object.get(except, "namespaces", [])
	glob.match(pattern, null, input.event.pod.namespace)
}

excepted(except) if places.within(repository, object.get(except, "images", []))

# A pattern with a slash is compared with the path of the executable, any other one with the name that the
# process has given itself.
excepted(except) if {
	some pattern in object.get(except, "processes", [])
	contains(pattern, "/")
	glob.match(pattern, null, text("proc.exepath"))
}

excepted(except) if {
	some pattern in object.get(except, "processes", [])
	not contains(pattern, "/")
	glob.match(pattern, null, text("proc.name"))
}

# asks are the actions of a list as a respond rule gives them, with why.
asks(actions, signs) := {ask |
	some entry in actions
	ask := object.union({"msg": wording.few(sort(signs)), "parameters": {}}, entry)
}

# escalated are the actions of an escalation once there were as many events as it says.
escalated(escalation, signs) := asks(escalation.actions, signs | {sprintf("%d events of the priority %s or a graver one within %d s", [grave(escalation.level), escalation.level, input.event.window])}) if {
	escalation.count > 0
	grave(escalation.level) >= escalation.count
} else := set()

# grave counts the recent events of the pod, this one included, of a priority or a graver one.
grave(priority) := sum([recent.count | some recent in input.event.recent; recent.level <= levels[priority]])

levels := {
	"emergency": 0,
	"alert": 1,
	"critical": 2,
	"error": 3,
	"warning": 4,
	"notice": 5,
	"informational": 6,
	"debug": 7,
}
