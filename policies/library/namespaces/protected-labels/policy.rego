# METADATA
# title: Labels that choose the policies of a namespace
# description: |
#   Labels of the namespace choose its Pod Security level and its profile of policies,
#   annotations its nodes and tolerations. A tenant who may edit the namespace would otherwise
#   exempt itself from every control with one label (CVE-2026-30963 did it through
#   namespaces/finalize and namespaces/status, which change labels as well).
#
#   Only the listed users and groups may set, change or remove them. What only tightens,
#   listed as KEY=VALUE, is open to all.
# related_resources:
#   - https://kubernetes.io/docs/tasks/configure-pod-container/enforce-standards-namespace-labels/
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: ""
#         resources: [namespaces, namespaces/finalize, namespaces/status]
#   remediation: >-
#     Have the change made by one of the users or groups who may, or leave the label as it is.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.2.1", "5.7.1"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03", "K04"]
#   doors: [admission]
#   fix: none
#   fixReason: >-
#     The change is wrong because of who asks: the same manifest is fine from somebody who
#     may.
#   parameters:
#     type: object
#     properties:
#       labels:
#         description: Globs of the labels that are guarded; * is any run of characters.
#         type: array
#         items: {type: string}
#         default: ["pod-security.kubernetes.io/*", "policy.portcullis.dev/*", "admission.gatekeeper.sh/ignore"]
#       annotations:
#         description: Globs of the annotations that are guarded.
#         type: array
#         items: {type: string}
#         default:
#           - policy.portcullis.dev/*
#           - scheduler.alpha.kubernetes.io/node-selector
#           - scheduler.alpha.kubernetes.io/defaultTolerations
#           - scheduler.alpha.kubernetes.io/tolerationsWhitelist
#       harmless:
#         description: Globs of KEY=VALUE for labels that everybody may set, since they only tighten.
#         type: array
#         items: {type: string}
#         default:
#           - pod-security.kubernetes.io/enforce=restricted
#           - pod-security.kubernetes.io/audit=restricted
#           - pod-security.kubernetes.io/warn=restricted
#           - pod-security.kubernetes.io/*-version=latest
#       allowedUsers:
#         description: Users that may change them; service accounts as system:serviceaccount:NAMESPACE:NAME.
#         type: array
#         items: {type: string}
#         default: []
#       allowedGroups:
#         description: Groups that may change them.
#         type: array
#         items: {type: string}
#         default: ["system:masters", "kubeadm:cluster-admins"]
package portcullis.namespaces.protected_labels

deny contains finding if {
	some key, value in input.object.metadata.labels
	not input.oldObject.metadata.labels[key] == value
	is_protected(key, input.parameters.labels)
	not harmless(key, value)
	not allowed
	finding := {
		"msg": sprintf("%q may not set the label %s to %q", [input.subject.username, key, value]),
		"path": sprintf("metadata.labels[%s]", [key]),
	}
}

deny contains finding if {
	some key, _ in input.oldObject.metadata.labels
	not input.object.metadata.labels[key]
	is_protected(key, input.parameters.labels)
	not allowed
	finding := {
		"msg": sprintf("%q may not remove the label %s", [input.subject.username, key]),
		"path": sprintf("metadata.labels[%s]", [key]),
	}
}

deny contains finding if {
	some key, value in input.object.metadata.annotations
	not input.oldObject.metadata.annotations[key] == value
	is_protected(key, input.parameters.annotations)
	not allowed
	finding := {
		"msg": sprintf("%q may not set the annotation %s", [input.subject.username, key]),
		"path": sprintf("metadata.annotations[%s]", [key]),
	}
}

deny contains finding if {
	some key, _ in input.oldObject.metadata.annotations
	not input.object.metadata.annotations[key]
	is_protected(key, input.parameters.annotations)
	not allowed
	finding := {
		"msg": sprintf("%q may not remove the annotation %s", [input.subject.username, key]),
		"path": sprintf("metadata.annotations[%s]", [key]),
	}
}

is_protected(key, patterns) if {
	some pattern in patterns
	glob.match(pattern, null, key)
}

harmless(key, value) if {
	some pattern in input.parameters.harmless
	glob.match(pattern, null, concat("=", [key, value]))
}

allowed if input.subject.username in input.parameters.allowedUsers

allowed if {
	some group in input.subject.groups
	group in input.parameters.allowedGroups
}
