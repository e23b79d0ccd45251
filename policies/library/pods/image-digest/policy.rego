# METADATA
# title: Images by digest
# description: |
#   A tag can be moved: what was scanned and signed yesterday need not be what a node pulls today,
#   and two replicas of one Deployment can run different programs. A digest names the bytes.
#   The fix sets a digest of zeros in the right place: put the image's own digest there.
# related_resources:
#   - https://kubernetes.io/docs/concepts/containers/images/#image-names
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Append the image's digest (@sha256:…), as `crane digest IMAGE` or `docker buildx imagetools inspect IMAGE` prints it.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.1.5"]
#     slsa: [distribution/verification]
#     owasp-k8s: [K02]
package portcullis.pods.image_digest

placeholder := "@sha256:0000000000000000000000000000000000000000000000000000000000000000"

deny contains finding if {
	some image in input.workload.images
	image.digest == ""
	finding := {
		"msg": sprintf("image %q is not named by digest", [image.ref]),
		"path": image.path,
		"fix": [{"op": "set", "path": image.path, "value": concat("", [image.ref, placeholder])}],
	}
}
