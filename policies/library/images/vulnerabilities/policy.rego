# METADATA
# title: Known vulnerabilities
# description: |
#   What is published is what is scanned for and exploited first. A vulnerability counts at or above a severity,
#   unless a VEX statement that the bundle believes says that the image is not affected, or an ignore
#   of the bundle with owner, reason and date covers it; on that date it counts again. One that has a
#   fix denies; one without warns, by default, since nobody can mend it. A scan that is not complete
#   does not show that there are none.
# related_resources:
#   - https://www.first.org/cvss/v3-1/specification-document
#   - https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md
# custom:
#   severity: high
#   match:
#     workload: any
#   fix: none
#   fixReason: The image has to be built anew; which tag or digest that gives is not known here.
#   remediation: Rebuild the image with the fixed packages and scan it again, or state in a VEX document why it is not affected.
#   controls:
#     nsa: [pod-security/secure-images]
#     cis: ["5.5.1"]
#     nist-800-190: ["4.1.1"]
#     nist-800-204d: ["5.2"]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       severity:
#         description: The lowest severity that counts.
#         enum: [critical, high, medium, low]
#         default: high
#       unknownSeverity:
#         description: The severity that a vulnerability without one is given; none leaves those out.
#         enum: [critical, high, medium, low, none]
#         default: high
#       unfixed:
#         description: What becomes of vulnerabilities that no version of the package is without.
#         enum: [deny, warn, allow]
#         default: warn
#       unscanned:
#         description: What becomes of images without complete scan. leave is for bundles that have images/scanned too.
#         enum: [deny, leave]
#         default: deny
#       replacements:
#         description: What becomes of pods that replace one of a template that was admitted with this image.
#         enum: [warn, deny]
#         default: warn
#       reported:
#         description: How many vulnerabilities of a pod are spelled out, the worst first, shared among its images. The others are summed up.
#         type: integer
#         minimum: 1
#         maximum: 90
#         default: 90
package portcullis.images.vulnerabilities

import data.portcullis.lib.scans
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

# What nobody can mend.
warn contains finding if {
	some image in input.images
	list := vulnerabilities.hopeless(counted(image), input.parameters.unfixed)
	some finding in vulnerabilities.findings(image, list, share)
}

objections(image) := scans.unscanned(image, input.parameters.unscanned) | vulnerabilities.findings(image, list, share) if {
	list := vulnerabilities.mendable(counted(image), input.parameters.unfixed)
}

counted(image) := vulnerabilities.worst(image.scan, input.parameters.severity, input.parameters.unknownSeverity)

share := vulnerabilities.share(input.parameters.reported, input.images)
