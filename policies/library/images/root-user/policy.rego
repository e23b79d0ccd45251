# METADATA
# title: Images that run as root
# description: |
#   Where the manifest does not say as whom a container runs, its image does, and most images say root. Root in a container is root
#   on the node as soon as the container is left. This policy looks into the image where the manifest is silent: a
#   container passes if its image names another user, or if the manifest sets runAsNonRoot or runAsUser. In a user
#   namespace (hostUsers: false) root is nobody outside. What a manifest sets itself is judged by pods/run-as-user.
# related_resources:
#   - https://github.com/opencontainers/image-spec/blob/main/config.md#properties
#   - https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: Set USER in the image's Dockerfile to a number other than 0, or runAsNonRoot and runAsUser in the container's securityContext.
#   controls:
#     nsa: [pod-security/non-root]
#     cis: ["5.2.7"]
#     nist-800-190: ["4.1.2", "4.4.3"]
#     owasp-k8s: [K01]
#   parameters:
#     type: object
#     properties:
#       user:
#         description: The user that the fix sets.
#         type: integer
#         minimum: 1
#         default: 65532
package portcullis.images.root_user

import data.portcullis.lib.configs
import data.portcullis.lib.evidence

deny contains finding if {
	some container in input.workload.containers
	not container.securityContext.runAsNonRoot
	not told(container)
	input.workload.hostUsers
	input.workload.os != "windows"
	some image in input.images
	image.path == concat("", [container.path, ".image"])
	some config in configs.runnable(image)
	configs.root(config)
	path := concat("", [container.path, ".securityContext.runAsUser"])
	finding := {
		"msg": sprintf("container %q runs as root: its image %q says so (user %q)", [container.name, image.ref, config.user]),
		"path": path,
		"details": evidence.about(image),
		"fix": [{"op": "set", "path": path, "value": input.parameters.user}],
	}
}

told(container) if is_number(container.securityContext.runAsUser)
