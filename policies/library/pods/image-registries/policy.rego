# METADATA
# title: Allowed registries
# description: |
#   Whoever can name any image can run any program. Only images under the allowed registries and
#   repositories may run. The canonical reference is compared by whole path segments: `ghcr.io/acme`
#   allows ghcr.io/acme/x, never ghcr.io/acme-evil/x nor ghcr.io.evil.com/acme/x, and nginx is
#   docker.io/library/nginx. Image volumes count as images. With an empty list no image is allowed.
# related_resources:
#   - https://kubernetes.io/docs/concepts/containers/images/#image-names
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Copy the image to an allowed registry and name it there, or have the registry added to the policy's parameter allowed.
#   controls:
#     nsa: [pod-security/secure-images]
#     cis: ["5.5.1"]
#     nist-800-190: ["4.1.5"]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: |
#           Registries or repositories in canonical form, each with all that lies below it:
#           ghcr.io/acme, docker.io/library, registry.example:5000.
#         type: array
#         items: {type: string, pattern: "^[a-z0-9][a-z0-9._:-]*(/[a-z0-9._-]+)*$"}
#         default: []
package portcullis.pods.image_registries

# A slash behind both sides makes a prefix of characters a prefix of path segments.
prefixes := {concat("", [entry, "/"]) | some entry in input.parameters.allowed}

deny contains finding if {
	some image in input.workload.images
	not strings.any_prefix_match(concat("/", [image.registry, image.repository, ""]), prefixes)
	segments := split(image.ref, "/")
	finding := {
		"msg": sprintf("image %q is from no allowed registry", [image.ref]),
		"path": image.path,
		"fix": [{"op": "set", "path": image.path, "value": concat("/", [entry, segments[count(segments) - 1]])} |
			entry := input.parameters.allowed[0]
		],
	}
}
