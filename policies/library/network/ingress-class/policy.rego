# METADATA
# title: Ingress classes
# description: |
#   The class decides which controller publishes an Ingress: the internal one or that at the edge of
#   the internet. A class left open is whatever the cluster's default is today, and one that no policy
#   knows may be an unprotected controller, or one a tenant runs to receive certificates. The
#   deprecated annotation is honoured by controllers beside the field. With an empty list no class
#   is allowed.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class
# custom:
#   severity: medium
#   match:
#     resources: [{group: networking.k8s.io, resources: [ingresses]}]
#   remediation: Name one of the allowed classes in spec.ingressClassName, or have the class added to the policy's parameter allowed.
#   controls:
#     nsa: [network-separation/network-policies]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: The classes that may be used. The first is that of the fix.
#         type: array
#         items: {type: string}
#         default: []
package portcullis.network.ingress_class

annotation := "kubernetes.io/ingress.class"

deny contains finding if {
	not input.object.spec.ingressClassName
	not input.object.metadata.annotations[annotation]
	finding := objection("the Ingress names no class, which leaves the choice to the cluster")
}

deny contains finding if {
	not input.object.spec.ingressClassName in input.parameters.allowed
	finding := objection(sprintf("class %q is not allowed", [input.object.spec.ingressClassName]))
}

deny contains finding if {
	class := input.object.metadata.annotations[annotation]
	not class in input.parameters.allowed
	path := sprintf("metadata.annotations[%s]", [annotation])
	finding := {
		"msg": sprintf("class %q is not allowed", [class]),
		"path": path,
		"fix": array.concat([{"op": "remove", "path": path}], choice),
	}
}

objection(message) := {
	"msg": message,
	"path": "spec.ingressClassName",
	"fix": choice,
}

# Without an allowed class there is nothing to choose.
choice := [{"op": "set", "path": "spec.ingressClassName", "value": class} | class := input.parameters.allowed[0]]
