# METADATA
# title: Administrative access to devices
# description: |
#   A resource claim with adminAccess (KEP-5018) gets a device that others are using, with whatever the
#   driver grants an administrator: their memory, their counters, resetting it. It is meant for monitoring
#   agents and is allowed only in the listed namespaces. With an empty list nowhere.
# related_resources:
#   - https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#admin-access
# custom:
#   severity: high
#   match:
#     resources: [{group: resource.k8s.io, resources: [resourceclaims, resourceclaimtemplates]}]
#   remediation: Remove adminAccess from the request, or have the namespace added to the policy's parameter namespaces.
#   controls:
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
#   parameters:
#     type: object
#     properties:
#       namespaces:
#         description: Namespaces whose claims may ask for administrative access, as globs.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
package portcullis.pods.device_admin_access

deny contains finding if {
	some path in administrative
	not allowed
	finding := {
		"msg": sprintf("the request asks for administrative access, which namespace %q may not", [input.request.namespace]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}

# Since v1beta2 a request says exactly what it wants or gives a list of alternatives,
# which have no administrative access; v1beta1 has the field in the request itself.

administrative contains path if {
	some i, request in input.object.spec.devices.requests
	request.exactly.adminAccess
	path := sprintf("spec.devices.requests[%d].exactly.adminAccess", [i])
}

administrative contains path if {
	some i, request in input.object.spec.devices.requests
	request.adminAccess
	path := sprintf("spec.devices.requests[%d].adminAccess", [i])
}

administrative contains path if {
	some i, request in input.object.spec.spec.devices.requests
	request.exactly.adminAccess
	path := sprintf("spec.spec.devices.requests[%d].exactly.adminAccess", [i])
}

administrative contains path if {
	some i, request in input.object.spec.spec.devices.requests
	request.adminAccess
	path := sprintf("spec.spec.devices.requests[%d].adminAccess", [i])
}

allowed if {
	some namespace in input.parameters.namespaces
	glob.match(namespace, null, input.request.namespace)
}
