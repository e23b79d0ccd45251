# METADATA
# title: Objects of quarantines
# description: |
#   Quarantines, what admission remembers of them and their evidence are objects, and so are the network policies that cut a pod off. Whoever could change
#   them would release a pod, forge who did, or make the deny that stands in the whole cluster one that allows. Nobody but those who quarantine
#   changes them; what a person states (a release, an approval) is in that person's own name. A network policy of somebody else that was narrowed for a
#   quarantine keeps its selector until it is released.
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: runtime.portcullis.dev
#         resources: [quarantines, quarantines/status, quarantineevidences, incidents]
#       - group: networking.k8s.io
#         resources: [networkpolicies]
#       - group: policy.networking.k8s.io
#         resources: [clusternetworkpolicies, adminnetworkpolicies]
#       - group: cilium.io
#         resources: [ciliumclusterwidenetworkpolicies]
#       - group: projectcalico.org
#         resources: [globalnetworkpolicies, tiers]
#       - group: crd.projectcalico.org
#         resources: [globalnetworkpolicies, tiers]
#     operations: [CREATE, UPDATE, DELETE]
#   doors: [admission]
#   remediation: >-
#     Leave the object to those who handle the incident; they release the pod in their own name (portcullis quarantine release).
#   fix: none
#   fixReason: The change is wrong because of who asks.
#   controls:
#     mitre: [T1562, T1070]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: [K03]
#   parameters:
#     type: object
#     properties:
#       names:
#         description: Globs of the names of network policies that isolate; others that carry the label of a quarantine do, too.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [portcullis-quarantine, "*.portcullis-quarantine", "portcullis-q-*"]
#       statusAccounts:
#         description: Service accounts, as namespace/name, that answer in the status of quarantines.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [portcullis-system/portcullis-secrets]
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
#         default: [portcullis-system/portcullis-responder, kube-system/generic-garbage-collector]
package portcullis.runtime.quarantine_objects

import data.portcullis.lib.callers
import data.portcullis.lib.quarantine

restricted := "runtime.portcullis.dev/restricted-for"

deny contains finding if {
	input.request.resource.group == "runtime.portcullis.dev"
	not permitted
	not answers
	finding := {"msg": sprintf("%q may not %s %s: they are those of who quarantines", [input.subject.username, lower(input.request.operation), input.request.resource.resource])}
}

deny contains finding if {
	isolates
	not permitted
	finding := {"msg": sprintf("%q may not %s this policy: it isolates quarantined pods", [input.subject.username, lower(input.request.operation)])}
}

deny contains finding if {
	input.oldObject.metadata.annotations[restricted]
	input.object.spec.podSelector != input.oldObject.spec.podSelector
	not permitted
	finding := {
		"msg": sprintf("the policy leaves out quarantined pods (%s), and %q may not change that", [input.oldObject.metadata.annotations[restricted], input.subject.username]),
		"path": "spec.podSelector",
	}
}

deny contains finding if {
	value := input.object.metadata.annotations[restricted]
	not input.oldObject.metadata.annotations[restricted] == value
	not permitted
	finding := {
		"msg": sprintf("%q may not set the annotation %s", [input.subject.username, restricted]),
		"path": sprintf("metadata.annotations[%s]", [restricted]),
	}
}

deny contains finding if {
	input.oldObject.metadata.annotations[restricted]
	input.request.operation == "UPDATE"
	not input.object.metadata.annotations[restricted]
	not permitted
	finding := {
		"msg": sprintf("%q may not remove the annotation %s", [input.subject.username, restricted]),
		"path": sprintf("metadata.annotations[%s]", [restricted]),
	}
}

deny contains finding if {
	input.request.resource.resource == "quarantines"
	some field in ["release", "approval"]
	said := input.object.spec[field]
	not input.oldObject.spec[field] == said
	said.by != input.subject.username
	not input.subject.serviceAccount
	finding := {
		"msg": sprintf("the %s is said to be of %q, but %q asks for it", [field, said.by, input.subject.username]),
		"path": sprintf("spec.%s.by", [field]),
	}
}

isolates if {
	some pattern in input.parameters.names
	glob.match(pattern, null, input.request.name)
}

# A deletion of several objects names none of them.
isolates if {
	some pattern in input.parameters.names
	glob.match(pattern, null, input.oldObject.metadata.name)
}

isolates if input.object.metadata.labels[quarantine.label]

isolates if input.oldObject.metadata.labels[quarantine.label]

permitted if callers.permitted(input.parameters.users, input.parameters.groups, input.parameters.serviceAccounts)

answers if {
	input.request.subresource == "status"
	callers.account in input.parameters.statusAccounts
}
