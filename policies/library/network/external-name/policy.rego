# METADATA
# title: External names
# description: |
#   A Service of type ExternalName is an alias, and proxies, Ingress controllers and allow-lists trust
#   it as one of the namespace's own. Pointed to a name inside the cluster it reaches another
#   tenant's Service behind the back of every rule that goes by namespace; pointed to localhost or to
#   a metadata service it makes the Ingress controller ask for its own credentials and publish the
#   answer. The name is compared in lower case and without a dot at the end.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/service/#externalname
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [services]}]
#   remediation: Name a host outside the cluster in place of the placeholder of the fix, or use a Service with a selector.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       forbidden:
#         description: Globs of names that no alias may have; * matches dots too. Add the names of your network's own zones.
#         type: array
#         items: {type: string}
#         default:
#           - localhost
#           - "*.localhost"
#           - "*.local"
#           - "*.internal"
#           - "*.svc"
#           - "*.svc.*"
#           - kubernetes
#           - kubernetes.default
#           - instance-data
package portcullis.network.external_name

# A placeholder that the author replaces (RFC 2606).
some_name := "replace-me.example.com"

deny contains finding if {
	input.object.spec.type == "ExternalName"
	some pattern in input.parameters.forbidden
	glob.match(pattern, null, name)
	finding := objection(sprintf("the Service is an alias for %q, which matches %q", [name, pattern]))
}

# A name whose last label is a number is an address to whoever resolves it, whatever its
# notation (https://url.spec.whatwg.org/#ends-in-a-number-checker).
deny contains finding if {
	input.object.spec.type == "ExternalName"
	regex.match(`(^|\.)([0-9]+|0x[0-9a-f]*)$`, name)
	finding := objection(sprintf("the Service is an alias for %q, which is an address", [name]))
}

name := lower(trim_suffix(input.object.spec.externalName, "."))

objection(message) := {
	"msg": message,
	"path": "spec.externalName",
	"fix": [{"op": "set", "path": "spec.externalName", "value": some_name}],
}
