# METADATA
# title: Images under incident
# description: |
#   While a break-in is looked into, nothing that was part of it may start again, whatever its signatures say: a signed
#   image can be malicious, and keys can be stolen. Digests of images, of the manifests in an index and of unpacked layers
#   (diff_ids) are denied, by the parameter digests or by the bundle's data/incidents.yaml, which has the form
#   {digests: {"sha256:…": reason}}. Pods that replace others are no exception.
# related_resources:
#   - https://csrc.nist.gov/pubs/sp/800/61/r3/final
# custom:
#   severity: critical
#   match:
#     workload: any
#   fix: none
#   fixReason: Which other image may run is for whoever handles the incident to say.
#   remediation: Use an image that is not part of the incident, or ask those who handle it to take the digest off the list.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.1.3", "4.1.5"]
#     nist-800-204d: ["5.2"]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       digests:
#         description: Digests under incident and why.
#         type: array
#         items:
#           type: object
#           required: [digest, reason]
#           additionalProperties: false
#           properties:
#             digest: {type: string, pattern: '^sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})$'}
#             reason: {type: string, minLength: 1}
#         default: []
package portcullis.images.incidents

import data.incidents
import data.portcullis.lib.evidence
import data.portcullis.lib.incidents as under_incident

deny contains finding if {
	some image in input.images
	some digest in parts(image)
	reasons := under_incident.reasons(digest, input.parameters.digests, incidents.digests)
	count(reasons) > 0
	reason := concat("; ", reasons)
	finding := {
		"msg": sprintf("image %q is under incident: %s (%s)", [image.ref, reason, digest]),
		"path": image.path,
		"details": object.union(evidence.about(image), {"incident": reason, "digestUnderIncident": digest}),
	}
}

deny contains finding if {
	some image in input.images
	not under_incident.readable(incidents)
	finding := {
		"msg": sprintf("nobody knows whether image %q is under incident: data/incidents.yaml of the bundle has no list digests", [image.ref]),
		"path": image.path,
		"remediation": "Have data/incidents.yaml corrected: it has a field digests, with the digests and why.",
		"details": evidence.about(image),
	}
}

# parts are the digests that an image is known by: its own, those of the manifests for each platform, and those of
# their layers.
parts(image) := ({image.resolved, image.digest} | {config.digest | some config in image.configs}) | {layer | some config in image.configs; some layer in config.layers}
