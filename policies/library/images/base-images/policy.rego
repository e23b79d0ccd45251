# METADATA
# title: Allowed base images
# description: |
#   Most of an image is its base, and most of what is wrong with it, so images may be built upon listed ones only. What an image was
#   built upon is known from its SLSA provenance, or because its lowest layers are those of an allowed image. Provenance
#   names every image that a build drew on, compilers of earlier stages and frontends included: all have to be
#   allowed. Labels that name a base are the builder's own word and count only by parameter. Nothing is allowed
#   until it is listed.
# related_resources:
#   - https://slsa.dev/spec/v1.0/provenance
#   - https://github.com/opencontainers/image-spec/blob/main/annotations.md
# custom:
#   severity: medium
#   match:
#     workload: any
#   fix: none
#   fixReason: The image has to be built anew upon an allowed one.
#   remediation: Build the image upon one of the allowed base images, in a pipeline that attests provenance.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.1.1", "4.1.5"]
#     nist-800-204d: ["5.1.1", "5.2"]
#     slsa: [provenance/exists]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: |
#           Images in canonical form without tag, where "*" stands for one segment between slashes and "**" for any number; a
#           digest may follow: docker.io/library/debian, gcr.io/distroless/*, ghcr.io/acme/base@sha256:…
#         type: array
#         items: {type: string, pattern: '^[a-z0-9.:-]+(?:/(?:[a-z0-9._-]+|\*\*?))+(?:@sha256:[0-9a-f]{64})?$'}
#         default: []
#       layers:
#         description: The layers of allowed base images, each a list of unpacked digests (diff_ids), lowest first.
#         type: array
#         items:
#           type: array
#           minItems: 1
#           items: {type: string, pattern: '^sha256:[0-9a-f]{64}$'}
#         default: []
#       trustLabels:
#         description: Whether the label org.opencontainers.image.base.name is believed.
#         type: boolean
#         default: false
#       authorities:
#         description: The authorities whose provenance counts, by name; "*" is every one that the bundle's trust has for the image.
#         type: array
#         items: {type: string, minLength: 1}
#         minItems: 1
#         default: ["*"]
package portcullis.images.base_images

import data.portcullis.lib.bases
import data.portcullis.lib.evidence
import data.portcullis.lib.wording

deny contains finding if {
	some image in input.images
	not bases.known(image, input.parameters)
	problems := bases.problems(image, input.parameters)
	finding := {
		"msg": sprintf("image %q is not known to be built upon an allowed image: %s", [image.ref, wording.few(problems)]),
		"path": image.path,
		"details": evidence.about(image),
	}
}
