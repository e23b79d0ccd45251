# METADATA
# title: Attested by a trusted authority
# description: |
#   A requirement of the bundle's trust can ask more of an authority than its signature: that it made certain
#   statements about the digest (provenance, a test report, a scan), each by its exact predicate type and
#   not longer ago than maxAge. An attestation of another type never stands in
#   (CVE-2022-35929), and one without a trusted time is too old for any limit. An authority counts if it
#   signed the image and made all its attestations. Images that no requirement is about are
#   judged by images/signed.
# related_resources:
#   - https://github.com/in-toto/attestation/blob/main/spec/README.md
#   - https://docs.sigstore.dev/cosign/verifying/attestation/
# custom:
#   severity: high
#   match:
#     workload: any
#   fix: none
#   fixReason: Who has the key has to attest the image; no change of the manifest does.
#   remediation: Have the attestations that the finding names made, for instance with portcullis image attest --key KEY --type TYPE --predicate FILE IMAGE@DIGEST, or cosign attest.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.1.5"]
#     nist-800-204d: ["5.1.1", "5.2"]
#     slsa: [provenance/authenticity, distribution/verification]
#     owasp-k8s: [K02]
package portcullis.images.attested

import data.portcullis.lib.evidence

deny contains finding if {
	some image in input.images
	some required in image.requirements
	evidence.demanding(required)
	attesters := evidence.attesters(image, required)
	count(attesters) < required.count
	finding := {
		"msg": sprintf("image %q has to be attested by %s (requirement %q): %s", [image.ref, evidence.demand(required), required.name, evidence.unattested_told(image, required)]),
		"path": image.path,
		"remediation": sprintf("Have it attested by %s: portcullis image attest --key KEY --type TYPE --predicate FILE %s, or cosign attest.", [evidence.demand(required), evidence.name(image)]),
		"details": evidence.about(image),
	}
}
