# METADATA
# title: Scanned images
# description: |
#   An image nobody looked into is not clean: it is unknown. Only a complete scan of the very digest, signed by a scanner that
#   the bundle trusts, says what is in an image. A scan that is missing, that failed, or that could not recognise
#   the distribution or its packages, is never taken for one that found nothing, and each has its own reason. Where a
#   scan is queued the finding says when to try again. What ages must not stop a failover: pods of a template that was
#   admitted before only warn, by default. Advisories of a distribution are about its own packages: how many are another
#   vendor's, so that no scan can say anything about them, is told as well.
# related_resources:
#   - https://github.com/sigstore/cosign/blob/main/specs/COSIGN_VULN_ATTESTATION_SPEC.md
#   - https://trivy.dev/latest/docs/coverage/os/
# custom:
#   severity: high
#   match:
#     workload: any
#   fix: none
#   fixReason: The image has to be scanned; no change of the manifest does that.
#   remediation: Scan the image and attach the signed result with portcullis-scanner scan --attach --key KEY IMAGE@DIGEST, or try again once the queued scan is done.
#   controls:
#     nsa: [pod-security/secure-images]
#     cis: ["5.5.1"]
#     nist-800-190: ["4.1.1", "4.1.5"]
#     nist-800-204d: ["5.2"]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       missing:
#         description: |
#           What becomes of an image without scan. retry denies in the cluster, with the time to try again once a scan is
#           queued, and warns where none can be: at the gate and on a dry run.
#         enum: [deny, warn, retry]
#         default: deny
#       unscannable:
#         description: What becomes of an image that the scanner can make nothing of, such as one with a single program in it.
#         enum: [deny, warn]
#         default: deny
#       error:
#         description: What becomes of an image whose scan failed.
#         enum: [deny, warn]
#         default: deny
#       thirdParty:
#         description: |
#           What becomes of an image with packages of other vendors than its distribution, as nginx.org's or docker.com's: the
#           vulnerability database says nothing about them.
#         enum: [allow, warn, deny]
#         default: warn
#       replacements:
#         description: What becomes of pods that replace one of a template that was admitted with this image.
#         enum: [warn, deny]
#         default: warn
package portcullis.images.scanned

import data.portcullis.lib.scans

deny contains finding if {
	some image in input.images
	image.scan.state != "complete"
	scans.denied(image, input.parameters)
	finding := scans.finding(image)
}

warn contains finding if {
	some image in input.images
	image.scan.state != "complete"
	not scans.denied(image, input.parameters)
	finding := scans.finding(image)
}

deny contains finding if {
	some image in input.images
	finding := scans.unlooked(image)
	scans.unlooked_denied(image, input.parameters)
}

warn contains finding if {
	some image in input.images
	finding := scans.unlooked(image)
	not scans.unlooked_denied(image, input.parameters)
	input.parameters.thirdParty != "allow"
}
