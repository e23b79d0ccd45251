# METADATA
# title: Denied licences
# description: |
#   Some licences ask of whoever runs a program as a service to publish what it runs with, and some forbid running it at
#   all. The bill of materials of the image says which licences are in it (SPDX: the concluded licence, else the declared
#   one; CycloneDX: each licence of a component). Where a part may be had under one of several licences, one that is
#   allowed is enough. Without a bill nothing is known, which is denied unless another policy does.
# related_resources:
#   - https://spdx.org/licenses/
#   - https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/
# custom:
#   severity: medium
#   match:
#     workload: any
#   fix: none
#   fixReason: The image has to be built anew without the package.
#   remediation: Remove or replace the packages that the finding names, rebuild the image and attest its new bill of materials.
#   controls:
#     nist-800-204d: ["5.2"]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       denied:
#         description: SPDX identifiers or names of licences; a star at the end stands for any ending.
#         type: array
#         items: {type: string, pattern: '^[^*\s][^*]*\*?$'}
#         maxItems: 200
#         default: ["AGPL-*", "SSPL-*"]
#       unstated:
#         description: What becomes of images with parts whose licence is not stated.
#         enum: [allow, warn, deny]
#         default: allow
#       missing:
#         description: What becomes of images without bill of materials. leave is for bundles that have images/sbom too.
#         enum: [deny, leave]
#         default: deny
#       authorities:
#         description: The authorities whose bills count, by name; "*" is every one that the bundle's trust has for the image.
#         type: array
#         items: {type: string, minLength: 1}
#         minItems: 1
#         default: ["*"]
package portcullis.images.licences

import data.portcullis.lib.evidence
import data.portcullis.lib.licences
import data.portcullis.lib.sboms
import data.portcullis.lib.wording

deny contains finding if {
	some image in input.images
	some bill in sboms.filled(image, licences.formats, input.parameters.authorities)
	some licence, names in licences.offenders(bill, input.parameters.denied)
	finding := {
		"msg": sprintf("image %q has %d %s under %s: %s", [image.ref, count(names), wording.plural("package", count(names)), licence, concat(", ", array.slice(names, 0, 5))]),
		"path": image.path,
		"details": object.union(evidence.about(image), {"licence": licence, "package": names[0], "packages": array.slice(names, 0, 50)}),
	}
}

deny contains finding if {
	some image in input.images
	some finding in unstated(image, "deny")
}

warn contains finding if {
	some image in input.images
	some finding in unstated(image, "warn")
}

deny contains finding if {
	some image in input.images
	count(sboms.filled(image, licences.formats, input.parameters.authorities)) == 0
	some finding in licences.unbilled(image, input.parameters.missing, input.parameters.authorities)
}

unstated(image, effect) := licences.unknown(image, input.parameters.unstated, effect, input.parameters.authorities)
