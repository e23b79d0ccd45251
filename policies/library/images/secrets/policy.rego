# METADATA
# title: Secrets in images
# description: |
#   Whoever can pull an image has every credential in its layers, those that a later layer deletes included, and so has
#   everybody who ever pulled it. The scanner says where one lies and of which kind it is, never what it is.
# related_resources:
#   - https://docs.docker.com/build/building/secrets/
# custom:
#   severity: critical
#   match:
#     workload: any
#   fix: none
#   fixReason: The image has to be built anew, and the credential replaced.
#   remediation: Revoke the credential, build the image without it (build secrets are mounted, never copied), and give it to the pod as a Secret.
#   controls:
#     nsa: [pod-security/secure-images, network-separation/secrets]
#     cis: ["5.4.1"]
#     nist-800-190: ["4.1.4"]
#     nist-800-204d: ["5.2"]
#     owasp-k8s: [K02, K08]
#   parameters:
#     type: object
#     properties:
#       severity:
#         description: The lowest severity that counts; a secret of unknown severity always does.
#         enum: [critical, high, medium, low]
#         default: medium
#       harmless:
#         description: Known findings that are no secrets, such as keys of test data. Paths may have stars, "*" within a segment and "**" across.
#         type: array
#         items:
#           type: object
#           required: [rule, path]
#           additionalProperties: false
#           properties:
#             rule: {type: string, minLength: 1}
#             path: {type: string, pattern: '^[^{}\[\]?\\]+$'}
#         default: []
#       unscanned:
#         description: What becomes of images without complete scan. leave is for bundles that have images/scanned too.
#         enum: [deny, leave]
#         default: deny
#       replacements:
#         description: What becomes of pods that replace one of a template that was admitted with this image.
#         enum: [warn, deny]
#         default: warn
#       reported:
#         description: How many secrets of a pod are spelled out, shared among its images. The others are counted.
#         type: integer
#         minimum: 1
#         maximum: 90
#         default: 45
package portcullis.images.secrets

import data.portcullis.lib.scans
import data.portcullis.lib.secrets
import data.portcullis.lib.vulnerabilities

deny contains finding if {
	some image in input.images
	not scans.spared(image, input.parameters.replacements)
	some finding in objections(image)
}

warn contains finding if {
	some image in input.images
	scans.spared(image, input.parameters.replacements)
	some finding in objections(image)
}

objections(image) := scans.unscanned(image, input.parameters.unscanned) | secrets.findings(image, list, most) if {
	list := secrets.counted(image.scan, input.parameters.severity, input.parameters.harmless)
	most := vulnerabilities.share(input.parameters.reported, input.images)
}
