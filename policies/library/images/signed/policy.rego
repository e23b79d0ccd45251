# METADATA
# title: Signed by a trusted authority
# description: |
#   Whoever can push to a registry, or stands between it and the node, can put any program behind a name.
#   A signature over the digest says who vouches for the bytes. The bundle's section trust says who
#   may sign which images and whose signatures each image needs; each requirement needs as many different
#   authorities as it says. A signature that is of another digest, by somebody else, without the log entry or
#   the annotations that are demanded, does not count. An image that no requirement is about is
#   denied, unless the parameter unmatched says otherwise.
# related_resources:
#   - https://docs.sigstore.dev/cosign/signing/signing_with_containers/
#   - https://slsa.dev/spec/v1.0/verifying-artifacts
# custom:
#   severity: high
#   match:
#     workload: any
#   fix: none
#   fixReason: Who has the key has to sign the image; no change of the manifest signs it.
#   remediation: Have the image signed by the authorities that the finding names, for instance with portcullis image sign --key KEY IMAGE@DIGEST, or cosign sign.
#   controls:
#     nsa: [pod-security/secure-images]
#     cis: ["5.5.1"]
#     nist-800-190: ["4.1.5"]
#     nist-800-204d: ["5.2"]
#     slsa: [distribution/verification]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       unmatched:
#         description: What becomes of an image that no requirement of the bundle's trust is about.
#         enum: [deny, warn, allow]
#         default: deny
package portcullis.images.signed

import data.portcullis.lib.evidence

deny contains finding if {
	some image in input.images
	some required in image.requirements
	signers := evidence.signers(image, required)
	count(signers) < required.count
	finding := {
		"msg": sprintf("image %q has to be signed by %s (requirement %q): %s", [image.ref, evidence.demand(required), required.name, evidence.unsigned(image, signers)]),
		"path": image.path,
		"remediation": sprintf("Have it signed by %s: portcullis image sign --key KEY %s, or cosign sign.", [evidence.demand(required), evidence.name(image)]),
		"details": evidence.about(image),
	}
}

deny contains finding if {
	some image in input.images
	some finding in evidence.unmatched(image, input.parameters.unmatched, "deny")
}

warn contains finding if {
	some image in input.images
	some finding in evidence.unmatched(image, input.parameters.unmatched, "warn")
}
