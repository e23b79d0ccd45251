# METADATA
# title: Workloads with an incident
# description: |
#   What was quarantined comes back: with the same image from another template, by the same owner, or as the same service account. Responses to
#   events leave incidents, and admission remembers them until they expire or are released. What an incident comes to is what the policy that made it asks for
#   (a warning, unless it says deny), but pods that the cluster's controllers make in place of others are only warned about.
#
#   An image counts by the digest in its reference, which costs no request to a registry. patch/image-digest-pin writes digests into references;
#   runtime/incident-digests looks up tags.
# custom:
#   severity: high
#   match:
#     workload: any
#   doors: [admission, audit]
#   remediation: >-
#     Use another image, or ask those who handle the incident to release it.
#   fix: none
#   fixReason: Which other image, owner or account will do is for whoever handles the incident to say.
#   controls:
#     mitre: [T1525, T1610]
#     nist-800-190: ["4.1.3"]
#   parameters:
#     type: object
#     properties:
#       effect:
#         description: What an incident comes to; "as asked" is what the policy that made it asked for.
#         enum: [as asked, warn, deny]
#         default: as asked
#       replacements:
#         description: What it comes to where a controller of the cluster asks, so that containing one pod is no outage of the others.
#         enum: [as asked, warn, deny, none]
#         default: warn
#       controllers:
#         description: Users that replace pods, by name.
#         type: array
#         items: {type: string, minLength: 1}
#         default:
#           - system:kube-controller-manager
#           - system:serviceaccount:kube-system:cronjob-controller
#           - system:serviceaccount:kube-system:daemon-set-controller
#           - system:serviceaccount:kube-system:deployment-controller
#           - system:serviceaccount:kube-system:job-controller
#           - system:serviceaccount:kube-system:replicaset-controller
#           - system:serviceaccount:kube-system:replication-controller
#           - system:serviceaccount:kube-system:statefulset-controller
package portcullis.runtime.incidents

import data.portcullis.lib.remembered

deny contains finding if {
	some [incident, finding] in found
	remembered.outcome(incident, input.parameters.effect, input.parameters.replacements, input.parameters.controllers) == "deny"
}

warn contains finding if {
	some [incident, finding] in found
	remembered.outcome(incident, input.parameters.effect, input.parameters.replacements, input.parameters.controllers) == "warn"
}

found contains [incident, finding] if {
	some incident in input.incidents
	incident.scope == "digest"
	remembered.here(incident)
	some image in input.images
	image.digest == incident.digest
	finding := {
		"msg": sprintf("image %q has an incident: %s", [image.ref, remembered.told(incident)]),
		"path": image.path,
		"details": {"image": image.ref, "digest": image.digest, "incident": incident.name},
	}
}

found contains [incident, finding] if {
	some incident in input.incidents
	incident.scope == "serviceAccount"
	remembered.here(incident)
	incident.serviceAccount.namespace == input.request.namespace
	incident.serviceAccount.name == input.workload.serviceAccount
	finding := {
		"msg": sprintf("service account %q has an incident: %s", [input.workload.serviceAccount, remembered.told(incident)]),
		"path": sprintf("%s.serviceAccountName", [input.workload.path]),
		"details": {"incident": incident.name},
	}
}

found contains [incident, finding] if {
	some incident in input.incidents
	incident.scope == "owner"
	remembered.here(incident)
	incident.owner.namespace == input.request.namespace
	is_or_has(incident.owner)
	finding := {
		"msg": sprintf("%s %q has an incident: %s", [incident.owner.kind, incident.owner.name, remembered.told(incident)]),
		"path": "metadata",
		"details": {"incident": incident.name},
	}
}

# The owner itself, with its template.
is_or_has(owner) if {
	input.request.kind.kind == owner.kind
	input.request.kind.group == owner.group
	input.request.name == owner.name
}

is_or_has(owner) if {
	some reference in input.object.metadata.ownerReferences
	reference.kind == owner.kind
	group_of(reference) == owner.group
	reference.name == owner.name
}

# What stands between is called after it: a Deployment's ReplicaSet by the hash of the template, a CronJob's Job by the minute.
is_or_has(owner) if {
	some reference in input.object.metadata.ownerReferences
	[owner.kind, reference.kind] in [["Deployment", "ReplicaSet"], ["CronJob", "Job"]]
	startswith(reference.name, concat("", [owner.name, "-"]))
	regex.match(`^([bcdf-hj-np-tv-z2-9]{1,10}|[0-9]+)$`, substring(reference.name, count(owner.name) + 1, -1))
}

group_of(reference) := regex.replace(reference.apiVersion, `/?[^/]*$`, "")
