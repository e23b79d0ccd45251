# METADATA
# title: Extended resources
# description: |
#   GPUs and other devices are scarce and dear, their drivers run in the kernel, and a device can keep
#   what its last user left in its memory. Everything but cpu, memory and ephemeral storage, huge pages
#   included, may be asked for only in the namespaces listed for it. With an empty list nowhere.
# related_resources:
#   - https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#extended-resources
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Remove the resource, or have it allowed for the namespace in the policy's parameter allowed.
#   controls:
#     nsa: [network/resource-policies]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Which resources may be asked for in which namespaces, both as globs (nvidia.com/* in ml-*).
#         type: array
#         items:
#           type: object
#           required: [resource, namespaces]
#           additionalProperties: false
#           properties:
#             resource: {type: string, minLength: 1}
#             namespaces: {type: array, items: {type: string, minLength: 1}}
#         default: []
package portcullis.pods.extended_resources

# Requests are enough: what has only a limit requests as much.

deny contains finding if {
	some container in input.workload.containers
	some resource in container.resources.requests.extended
	not allowed(resource.name)
	finding := objection(sprintf("container %q", [container.name]), container.path, resource)
}

# Huge pages can be asked for by the pod as a whole (spec.resources, KEP-2837).
deny contains finding if {
	some resource in input.workload.resources.requests.extended
	not allowed(resource.name)
	finding := objection("the pod", input.workload.path, resource)
}

objection(who, path, resource) := {
	"msg": sprintf("%s asks for %s %s, which namespace %q may not use", [who, resource.text, resource.name, input.request.namespace]),
	"path": resource.path,
	"fix": [
		{"op": "remove", "path": concat("", [path, ".resources.requests[", resource.name, "]"])},
		{"op": "remove", "path": concat("", [path, ".resources.limits[", resource.name, "]"])},
	],
}

allowed(resource) if {
	some entry in input.parameters.allowed
	glob.match(entry.resource, null, resource)
	some namespace in entry.namespaces
	glob.match(namespace, null, input.request.namespace)
}
