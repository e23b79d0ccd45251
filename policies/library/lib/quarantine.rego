# Which pod a request is about, and whether it is quarantined.
package portcullis.lib.quarantine

# label is on a pod that is isolated, and on the policies that isolate. runtime/quarantine-labels keeps others from setting it.
label := "runtime.portcullis.dev/quarantine"

# about are the quarantines of the pod that the request is about: by UID where the request has the pod, so that one of the
# same name that came later is another one, and by name where it has not (exec, eviction).
about := [incident |
	some incident in input.incidents
	incident.scope == "pod"
	concerns(incident)
]

concerns(incident) if incident.pod.uid == input.oldObject.metadata.uid

concerns(incident) if {
	not input.oldObject.metadata.uid
	incident.pod.namespace == input.request.namespace
	incident.pod.name == input.request.name
}

# labelled says that the pod, as it is now, has the label.
labelled if input.oldObject.metadata.labels[label]

# why says for a message why the pod is quarantined: the quarantines and their reasons.
why := concat("; ", [sprintf("%s: %s", [incident.name, incident.reason]) | some incident in about]) if {
	count(about) > 0
} else := sprintf("%v", [input.oldObject.metadata.labels[label]])
