# METADATA
# title: Distributions past their end of life
# description: |
#   Nobody publishes fixes for a distribution that is out of support, and its security tracker falls silent: a scan finds less
#   and less while the image gets worse. The scanner says when the image's distribution has ended. Pods of a template
#   that was admitted before only warn, by default.
# related_resources:
#   - https://endoflife.date/
# custom:
#   severity: high
#   match:
#     workload: any
#   fix: none
#   fixReason: The image has to be built anew upon another distribution.
#   remediation: Build the image upon a release of the distribution that is still supported.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.1.1"]
#     nist-800-204d: ["5.2"]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       unscanned:
#         description: What becomes of images without complete scan. leave is for bundles that have images/scanned too.
#         enum: [deny, leave]
#         default: deny
#       replacements:
#         description: What becomes of pods that replace one of a template that was admitted with this image.
#         enum: [warn, deny]
#         default: warn
package portcullis.images.end_of_life_os

import data.portcullis.lib.evidence
import data.portcullis.lib.scans

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

objections(image) := scans.unscanned(image, input.parameters.unscanned) | {{
	"msg": sprintf("image %q is built upon %s %s, which is no longer supported", [image.ref, image.scan.os.family, image.scan.os.name]),
	"path": image.path,
	"details": evidence.about(image),
} |
	image.scan.os.endOfLife
}
