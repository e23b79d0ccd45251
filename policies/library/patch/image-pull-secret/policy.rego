# METADATA
# title: Image pull secrets
# description: |
#   Pods in a namespace without the credentials of the company's registry fail to start, and their
#   authors help themselves with copies of passwords. New pods get the named pull secrets, so that
#   these exist once per namespace and can be replaced in one place. Secrets the pod names stay.
# related_resources:
#   - https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/
# custom:
#   severity: low
#   match:
#     workload: pods
#     operations: [CREATE]
#   parameters:
#     type: object
#     properties:
#       names:
#         description: Names of the pull secrets, in the order in which they are added.
#         type: array
#         items: {type: string, minLength: 1}
#         uniqueItems: true
#         default: []
#   remediation: Name the pull secret in imagePullSecrets of the pod or of its service account.
#   controls:
#     nist-800-190: ["4.1.4"]
#     owasp-k8s: [K08]
package portcullis.patch.image_pull_secret

patch contains {"path": ["spec", "imagePullSecrets"], "set": array.concat(present, missing)} if {
	not input.workload.mirror
	missing[0]
}

present := [secret | some secret in input.object.spec.imagePullSecrets]

missing := [{"name": name} |
	some name in input.parameters.names
	not {"name": name} in present
]
