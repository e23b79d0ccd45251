# METADATA
# title: Changes of a quarantined pod
# description: |
#   A quarantined pod has lost the labels by which Services, network policies and controllers select it: a label that comes
#   back opens it again. An owner that does not exist has the garbage collector delete it, another image or a deadline has the node stop it, and with it
#   goes the evidence. So nobody but those who handle it changes its labels or its specification, or adds an owner, whichever subresource is used.
# related_resources:
#   - https://kubernetes.io/docs/concepts/architecture/garbage-collection/
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: ""
#         resources: [pods, pods/status]
#     operations: [UPDATE]
#   doors: [admission]
#   remediation: >-
#     Leave the pod as it is; those who handle the incident release it (portcullis quarantine release).
#   controls:
#     mitre: [T1070, T1562]
#     nist-800-190: ["4.3.1"]
#   parameters:
#     type: object
#     properties:
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
package portcullis.runtime.quarantined_changes

import data.portcullis.lib.callers
import data.portcullis.lib.quarantine

deny contains finding if {
	quarantine.labelled
	labels(input.object) != labels(input.oldObject)
	not permitted
	finding := {
		"msg": sprintf("the pod is quarantined (%s): %q may not change its labels", [name, input.subject.username]),
		"path": "metadata.labels",
		"fix": [{"op": "set", "path": "metadata.labels", "value": labels(input.oldObject)}],
	}
}

deny contains finding if {
	quarantine.labelled
	input.object.spec != input.oldObject.spec
	not permitted
	finding := {
		"msg": sprintf("the pod is quarantined (%s): %q may not change its specification", [name, input.subject.username]),
		"path": "spec",
		"fix": [{"op": "set", "path": "spec", "value": input.oldObject.spec}],
	}
}

deny contains finding if {
	quarantine.labelled
	count(owners(input.object) - owners(input.oldObject)) > 0
	not permitted
	finding := {
		"msg": sprintf("the pod is quarantined (%s): %q may not give it an owner", [name, input.subject.username]),
		"path": "metadata.ownerReferences",
		"fix": [{"op": "set", "path": "metadata.ownerReferences", "value": object.get(input.oldObject, ["metadata", "ownerReferences"], [])}],
	}
}

permitted if callers.permitted(input.parameters.users, input.parameters.groups, input.parameters.serviceAccounts)

name := input.oldObject.metadata.labels[quarantine.label]

labels(pod) := object.get(pod, ["metadata", "labels"], {})

# Controllers that let go of the pod take themselves off the list: that is no matter.
owners(pod) := {owner | some owner in object.get(pod, ["metadata", "ownerReferences"], [])}
