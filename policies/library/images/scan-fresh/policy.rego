# METADATA
# title: Fresh scans
# description: |
#   A scan says what was known on the day of its vulnerability database: an old one hides what was published since. The image
#   does not change, what is known about it does. Both the scan and the database it used have to be young enough. A time in the
#   future, or none, is no age. Pods of a template that was admitted before only warn, by default, so that a scanner that is
#   down does not stop a failover.
# related_resources:
#   - https://github.com/sigstore/cosign/blob/main/specs/COSIGN_VULN_ATTESTATION_SPEC.md
# custom:
#   severity: medium
#   match:
#     workload: any
#   fix: none
#   fixReason: The image has to be scanned again; no change of the manifest does that.
#   remediation: Scan the image again with a current vulnerability database, with portcullis-scanner scan --attach --key KEY IMAGE@DIGEST.
#   controls:
#     nsa: [pod-security/secure-images]
#     cis: ["5.5.1"]
#     nist-800-190: ["4.1.1"]
#     nist-800-204d: ["5.2"]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       maxScanAge:
#         description: How old a scan may be, in hours (h) or minutes (m).
#         type: string
#         pattern: ^[1-9][0-9]{0,5}[hm]$
#         default: 168h
#       maxDatabaseAge:
#         description: How old the vulnerability database of the scan may be now. It was built before the scan, so less than maxScanAge makes no sense.
#         type: string
#         pattern: ^[1-9][0-9]{0,5}[hm]$
#         default: 192h
#       unscanned:
#         description: What becomes of images without complete scan. leave is for bundles that have images/scanned too.
#         enum: [deny, leave]
#         default: deny
#       replacements:
#         description: What becomes of pods that replace one of a template that was admitted with this image.
#         enum: [warn, deny]
#         default: warn
package portcullis.images.scan_fresh

import data.portcullis.lib.ages
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

objections(image) := scans.unscanned(image, input.parameters.unscanned) | scans.stale(image, ages.limit(input.parameters.maxScanAge), ages.limit(input.parameters.maxDatabaseAge))
