# What admission remembers of quarantined pods: the incidents of other scopes, and what they come to here.
package portcullis.lib.remembered

# here says that an incident counts in the namespace of the request.
here(incident) if not incident.namespaces[0]

here(incident) if {
	some pattern in incident.namespaces
	glob.match(pattern, null, input.request.namespace)
}

# outcome is warn, deny or none. Whether the pod replaces others follows from who asks, never from what the object says of itself.
outcome(incident, _, replacements, controllers) := choice(incident, replacements) if input.subject.username in controllers

outcome(incident, effect, _, controllers) := choice(incident, effect) if not input.subject.username in controllers

# An effect that is not known denies.
choice(incident, "as asked") := incident.effect if incident.effect in {"warn", "deny"} else := "deny"

choice(_, effect) := effect if effect != "as asked"

# told is an incident for a message, and until when it counts.
told(incident) := sprintf("%s (%s, until %s)", [incident.reason, incident.name, incident.expires])
