# METADATA
# title: Images pinned to the verified digest
# description: |
#   A tag is resolved once, the evidence of that digest is judged, and the pod runs that digest: what a node
#   pulls is what was verified, even if the tag is moved in between (CVE-2022-47633). The digest is
#   appended to the image as it is written, for containers of every kind and image volumes. Templates of controllers are left
#   alone unless the parameter controllers is true, since tools that compare the cluster with a repository would report
#   the difference; their pods are pinned one by one. Not to be combined with patch/registry-rewrite, which sets the
#   same field: the two would be a conflict.
# related_resources:
#   - https://kubernetes.io/docs/concepts/containers/images/#image-names
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Name the image by digest.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.1.5"]
#     nist-800-204d: ["5.2"]
#     slsa: [distribution/verification]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       controllers:
#         description: Whether the templates of Deployments, CronJobs and all other controllers are pinned too.
#         type: boolean
#         default: false
package portcullis.patch.image_digest_pin

import data.portcullis.lib.patching

patch contains {"path": patching.segments(image.path), "set": concat("@", [image.text, image.resolved])} if {
	some image in input.images
	image.digest == ""
	pinned(image)
}

pinned(image) if {
	not input.workload.template
	patching.brings(image.path, image.container)
}

pinned(_) if {
	input.workload.template
	input.parameters.controllers
}
