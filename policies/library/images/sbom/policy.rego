# METADATA
# title: Bill of materials
# description: |
#   When the next library turns out to be broken, a software bill of materials says which images hold it, without anybody
#   looking into them again. It has to be attested for the very digest, and to list
#   something: an empty one answers nothing.
# related_resources:
#   - https://spdx.dev/learn/overview/
#   - https://cyclonedx.org/specification/overview/
#   - https://www.cisa.gov/sbom
# custom:
#   severity: medium
#   match:
#     workload: any
#   fix: none
#   fixReason: The bill has to be made and attested; no change of the manifest does that.
#   remediation: Attest a bill of materials, for instance with portcullis-scanner scan --attach --sbom --key KEY IMAGE@DIGEST, or with cosign attest --type spdxjson --predicate FILE IMAGE@DIGEST.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.1.1", "4.1.5"]
#     nist-800-204d: ["5.1.1", "5.2"]
#     slsa: [provenance/exists]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       formats:
#         description: The formats that will do.
#         type: array
#         items: {enum: [spdx, cyclonedx]}
#         minItems: 1
#         default: [spdx, cyclonedx]
#       authorities:
#         description: The authorities whose bills count, by name; "*" is every one that the bundle's trust has for the image.
#         type: array
#         items: {type: string, minLength: 1}
#         minItems: 1
#         default: ["*"]
package portcullis.images.sbom

import data.portcullis.lib.evidence
import data.portcullis.lib.sboms
import data.portcullis.lib.wording

deny contains finding if {
	some image in input.images
	count(sboms.filled(image, input.parameters.formats, input.parameters.authorities)) == 0
	problems := sboms.problems(image, input.parameters.formats, input.parameters.authorities)
	finding := {
		"msg": sprintf("image %q has no bill of materials: %s", [image.ref, wording.few(problems)]),
		"path": image.path,
		"details": evidence.about(image),
	}
}
