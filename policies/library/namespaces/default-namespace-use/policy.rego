# METADATA
# title: Workloads in the default namespace
# description: |
#   Namespaces are where rights, network policies, quotas and Pod Security levels are drawn.
#   What lands in "default", mostly because nobody said where, shares one such space with
#   everything else that nobody thought about.
# related_resources:
#   - https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: >-
#     Put the workload into a namespace of its own: set metadata.namespace, replacing the
#     placeholder of the fix.
#   controls:
#     nsa: ["network-separation/namespaces"]
#     cis: ["5.7.1", "5.7.4"]
#     nist-800-190: ["4.3.4"]
#   parameters:
#     type: object
#     properties:
#       namespaces:
#         description: The namespaces in which nothing should run.
#         type: array
#         items: {type: string}
#         default: [default]
package portcullis.namespaces.default_namespace_use

deny contains finding if {
	input.request.namespace in input.parameters.namespaces
	finding := {
		"msg": sprintf("runs in the namespace %q", [input.request.namespace]),
		"path": "metadata.namespace",
		"fix": [{"op": "set", "path": "metadata.namespace", "value": "replace-with-a-namespace"}],
	}
}
