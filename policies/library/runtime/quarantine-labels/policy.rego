# METADATA
# title: Labels of quarantines
# description: |
#   The label runtime.portcullis.dev/quarantine is what network policies cut a pod off by, and what guards know it by. Whoever could take it off
#   would end the quarantine; whoever could set it would cut off any workload. So could who has it in a template, in a binding or in a change
#   of the status. Nobody but those who quarantine sets, changes or removes it, or the annotations beside it.
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: ""
#         resources: [pods, pods/status, pods/ephemeralcontainers, pods/resize, pods/binding, bindings]
#     operations: [CREATE, UPDATE]
#   doors: [admission]
#   remediation: >-
#     Leave the label or annotation as it is; those who handle the incident release a pod (portcullis quarantine release).
#   controls:
#     mitre: [T1562, T1499]
#     nist-800-190: ["4.3.1"]
#   parameters:
#     type: object
#     properties:
#       keys:
#         description: Globs of the labels and annotations that are guarded.
#         type: array
#         items: {type: string, minLength: 1}
#         default: ["runtime.portcullis.dev/*"]
#       users:
#         description: Users that may, by name.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
#       groups:
#         description: Groups that may.
#         type: array
#         items: {type: string, minLength: 1}
#         default: ["portcullis:responders"]
#       serviceAccounts:
#         description: Service accounts that may, as namespace/name.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [portcullis-system/portcullis-responder]
package portcullis.runtime.quarantine_labels

import data.portcullis.lib.callers

deny contains finding if {
	some field in ["labels", "annotations"]
	some key, value in input.object.metadata[field]
	guarded(key)
	not input.oldObject.metadata[field][key] == value
	not permitted
	path := sprintf("metadata.%s[%s]", [field, key])
	finding := {
		"msg": sprintf("%q may not set %s to %q", [input.subject.username, key, value]),
		"path": path,
		"fix": restored(path, field, key),
	}
}

deny contains finding if {
	some field in ["labels", "annotations"]
	some key, _ in input.oldObject.metadata[field]
	guarded(key)
	not input.object.metadata[field][key]
	not permitted
	path := sprintf("metadata.%s[%s]", [field, key])
	finding := {
		"msg": sprintf("%q may not remove %s", [input.subject.username, key]),
		"path": path,
		"fix": restored(path, field, key),
	}
}

# restored puts back what was there, or takes away what was not.
restored(path, field, key) := [{"op": "set", "path": path, "value": input.oldObject.metadata[field][key]}] if {
	input.oldObject.metadata[field][key]
} else := [{"op": "remove", "path": path}]

guarded(key) if {
	some pattern in input.parameters.keys
	glob.match(pattern, null, key)
}

permitted if callers.permitted(input.parameters.users, input.parameters.groups, input.parameters.serviceAccounts)
