# METADATA
# title: Images with an incident, by whatever name
# description: |
#   A tag, an index and the manifest for one platform are names of one image. runtime/incidents knows an image with an incident by the digest in its reference;
#   this policy asks the registry what a tag stands for, and which manifests an index holds. It needs registries that can be reached: while one cannot, pods
#   with its images are not admitted.
# custom:
#   severity: high
#   match:
#     workload: any
#   doors: [admission, audit]
#   remediation: >-
#     Use another image, or ask those who handle the incident to release it.
#   fix: none
#   fixReason: Which other image will do is for whoever handles the incident to say.
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
package portcullis.runtime.incident_digests

import data.portcullis.lib.evidence
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
	incident.digest in digests(image)
	finding := {
		"msg": sprintf("image %q has an incident: %s", [image.ref, remembered.told(incident)]),
		"path": image.path,
		"details": object.union(evidence.about(image), {"incident": incident.name}),
	}
}

digests(image) := {image.digest, image.resolved} | {config.digest | some config in image.configs}
