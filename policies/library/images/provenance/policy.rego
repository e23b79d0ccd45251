# METADATA
# title: Built by an allowed builder from an allowed source
# description: |
#   Provenance says which builder made an image from which repository, which a signature does not: an image built on
#   somebody's laptop, or from a fork, has none that counts. SLSA provenance v0.2 and v1 are understood. Builders and
#   sources are compared as a whole or by segments, never by how they begin, and nothing is allowed until it is
#   listed. Where a builder does not say what it was asked to build, every repository that the build drew on has to be
#   allowed.
# related_resources:
#   - https://slsa.dev/spec/v1.0/provenance
#   - https://slsa.dev/spec/v0.2/provenance
#   - https://slsa.dev/spec/v1.0/verifying-artifacts
# custom:
#   severity: high
#   match:
#     workload: any
#   fix: none
#   fixReason: The image has to be built by an allowed builder; no change of the manifest does that.
#   remediation: Build the image in the pipeline that attests provenance, from a repository among the parameter sources, by a builder among builders.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.1.5"]
#     nist-800-204d: ["5.1.1", "5.2"]
#     slsa: [build/l2, provenance/exists, provenance/authenticity]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       builders:
#         description: |
#           Builders, as the provenance names them. "*" stands for one segment between slashes, "**" for any number:
#           https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/*
#         type: array
#         items: {type: string, pattern: '^(?:[A-Za-z0-9._~:@+-]+|\*)(?:/(?:[A-Za-z0-9._~:@+-]*|\*\*?))*$'}
#         default: []
#       sources:
#         description: Repositories by their https address without .git and revision, with the same stars, https://github.com/acme/* for instance.
#         type: array
#         items: {type: string, pattern: '^https://[a-z0-9.:-]+(?:/(?:[A-Za-z0-9._~+-]+|\*\*?))+$'}
#         default: []
#       authorities:
#         description: The authorities whose provenance counts, by name; "*" is every one that the bundle's trust has for the image.
#         type: array
#         items: {type: string, minLength: 1}
#         minItems: 1
#         default: ["*"]
package portcullis.images.provenance

import data.portcullis.lib.evidence
import data.portcullis.lib.provenance
import data.portcullis.lib.wording

deny contains finding if {
	some image in input.images
	problems := provenance.problems(image, input.parameters)
	count(problems) > 0
	finding := {
		"msg": sprintf("image %q has no provenance that will do: %s", [image.ref, wording.few(problems)]),
		"path": image.path,
		"details": evidence.about(image),
	}
}
