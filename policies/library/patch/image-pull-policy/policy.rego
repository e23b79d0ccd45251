# METADATA
# title: Image pull policy
# description: |
#   With any policy but Always a node that has an image gives it to every pod that names it: a
#   tenant without credentials runs, and reads, the private image of another, and a tag that
#   was moved since means different programs on different nodes. With Always the registry is asked for
#   each start; layers that are there are not fetched again.
# related_resources:
#   - https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy
#   - https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#alwayspullimages
# custom:
#   severity: low
#   match:
#     workload: pods
#   parameters:
#     type: object
#     properties:
#       policy:
#         description: The pull policy every container gets.
#         enum: [Always, IfNotPresent, Never]
#         default: Always
#   remediation: Set imagePullPolicy of every container to the value of the parameter policy.
#   controls:
#     nist-800-190: ["4.1.5", "4.2.2"]
#     owasp-k8s: [K01]
package portcullis.patch.image_pull_policy

import data.portcullis.lib.patching

patch contains {"path": path, "set": input.parameters.policy} if {
	some container in input.workload.containers
	container.imagePullPolicy != input.parameters.policy
	patching.brings(container.path, container.name)
	path := array.concat(patching.segments(container.path), ["imagePullPolicy"])
}
