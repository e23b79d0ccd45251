# METADATA
# title: Image volumes
# description: |
#   An image volume mounts the files of an OCI image into a pod (KEP-4639). It brings programs and
#   models past every check that looks at containers only. Allowed are those under the listed registries
#   and repositories, compared by whole path segments; with an empty list none is.
# related_resources:
#   - https://kubernetes.io/docs/tasks/configure-pod-container/image-volumes/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Take the volume's image from an allowed registry, or put the files into the container's own image.
#   controls:
#     nsa: [pod-security/secure-images]
#     nist-800-190: ["4.1.5"]
#     owasp-k8s: [K02]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Registries or repositories in canonical form, each with all that lies below it (ghcr.io/acme/models).
#         type: array
#         items: {type: string, pattern: "^[a-z0-9][a-z0-9._:-]*(/[a-z0-9._-]+)*$"}
#         default: []
package portcullis.pods.image_volumes

# A slash behind both sides makes a prefix of characters a prefix of path segments.
prefixes := {concat("", [entry, "/"]) | some entry in input.parameters.allowed}

deny contains finding if {
	some image in input.workload.images
	image.volume != ""
	not strings.any_prefix_match(concat("/", [image.registry, image.repository, ""]), prefixes)
	finding := {
		"msg": sprintf("volume %q mounts image %q, from no registry allowed for volumes", [image.volume, image.ref]),
		"path": image.path,
		"fix": [{
			"op": "set",
			"path": trim_suffix(image.path, ".image.reference"),
			"value": {"name": image.volume, "emptyDir": {}},
		}],
	}
}
