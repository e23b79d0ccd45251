# METADATA
# title: Resource claims
# description: |
#   Dynamic resource allocation (KEP-4381) gives pods whole devices by claim. What a claim holds nobody
#   else can use, and a device's driver is a way into the kernel. Pods may use claims only in the
#   listed namespaces. With an empty list nowhere.
# related_resources:
#   - https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Remove resourceClaims, or have the namespace added to the policy's parameter namespaces.
#   controls:
#     nsa: [network/resource-policies]
#   parameters:
#     type: object
#     properties:
#       namespaces:
#         description: Namespaces whose pods may use resource claims, as globs.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
package portcullis.pods.resource_claims

deny contains finding if {
	input.workload.resourceClaims[0]
	not allowed
	path := concat("", [input.workload.path, ".resourceClaims"])
	users := {container.path |
		some container in input.workload.containers
		some _ in container.resources.claims
	}
	finding := {
		"msg": sprintf("the pod claims %s, which namespace %q may not", [concat(", ", [claim.name | some claim in input.workload.resourceClaims]), input.request.namespace]),
		"path": path,
		"fix": array.concat([{"op": "remove", "path": concat("", [user, ".resources.claims"])} | some user in users], [{"op": "remove", "path": path}]),
	}
}

allowed if {
	some namespace in input.parameters.namespaces
	glob.match(namespace, null, input.request.namespace)
}
