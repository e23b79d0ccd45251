# METADATA
# title: Pods by digest
# description: |
#   Evidence is about a digest, and a tag can be moved between the moment a pod is admitted and the moment a
#   node pulls it: the node would run what nobody verified. So a pod has to name each image by digest. Templates may
#   keep their tags; patch/image-digest-pin gives their pods the digest that was verified.
# related_resources:
#   - https://kubernetes.io/docs/concepts/containers/images/#image-names
# custom:
#   severity: high
#   match:
#     workload: pods
#   remediation: Name the image by its digest, or switch on patch/image-digest-pin, which does so on the way in.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.1.5"]
#     nist-800-204d: ["5.2"]
#     slsa: [distribution/verification]
#     owasp-k8s: [K02]
package portcullis.images.pinned_pods

import data.portcullis.lib.evidence

deny contains finding if {
	some image in input.images
	image.digest == ""
	pinned := concat("@", [image.ref, image.resolved])
	finding := {
		"msg": sprintf("image %q is named by a tag, which another image may have when the node pulls it", [image.ref]),
		"path": image.path,
		"remediation": sprintf("Name it %s, or switch on patch/image-digest-pin, which does so on the way in.", [pinned]),
		"details": evidence.about(image),
		"fix": [{"op": "set", "path": image.path, "value": pinned}],
	}
}
