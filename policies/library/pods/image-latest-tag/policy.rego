# METADATA
# title: Moving tags
# description: |
#   `latest` (also what an image without tag and digest means) is whatever was pushed last: a restart
#   can change the program without any change of the manifest, and a rollback brings the same image
#   back. A tag beside a digest is only a comment and is not objected to.
#   The fix sets the tag 1.0.0: put the version there that you mean.
# related_resources:
#   - https://kubernetes.io/docs/concepts/containers/images/#image-names
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Name the image by a version that never moves, better by digest.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.2.2"]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       tags:
#         description: Tags that are known to move.
#         type: array
#         items: {type: string}
#         default: [latest]
package portcullis.pods.image_latest_tag

deny contains finding if {
	some image in input.workload.images
	image.tag in input.parameters.tags
	image.digest == ""
	finding := {
		"msg": sprintf("image %q has the moving tag %q", [image.ref, image.tag]),
		"path": image.path,
		"fix": [{"op": "set", "path": image.path, "value": sprintf("%s/%s:1.0.0", [image.registry, image.repository])}],
	}
}
