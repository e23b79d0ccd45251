# METADATA
# title: Routes across namespaces
# description: |
#   A route that sends traffic to another namespace needs that namespace's consent, a ReferenceGrant;
#   one that attaches to another namespace's Gateway publishes under its hosts and certificates.
#   Controllers that do not check make the route a way around NetworkPolicies and into the other
#   tenant's Services, with the Gateway's address. Mirrors and external authorisation send traffic
#   as well. Shared Gateways are named by parameter.
# related_resources:
#   - https://gateway-api.sigs.k8s.io/api-types/referencegrant/
# custom:
#   severity: medium
#   match:
#     resources: [{group: gateway.networking.k8s.io, resources: [httproutes, grpcroutes, tcproutes, tlsroutes, udproutes]}]
#   remediation: Use a backend or Gateway of the route's own namespace, or have a ReferenceGrant put into the other one.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   reads:
#     - {group: gateway.networking.k8s.io, resource: referencegrants, scope: cluster, more: allows}
#   parameters:
#     type: object
#     properties:
#       gatewayNamespaces:
#         description: Globs of namespaces whose Gateways every route may use without a grant.
#         type: array
#         items: {type: string}
#         default: []
package portcullis.network.route_cross_namespace

deny contains finding if {
	some path, ref in backends
	ref.namespace != input.request.namespace
	not granted(ref, "", "Service")
	finding := objection(path, sprintf("the backend %s/%s is in another namespace, which has no ReferenceGrant for it", [ref.namespace, ref.name]))
}

deny contains finding if {
	some i, ref in input.object.spec.parentRefs
	ref.namespace != input.request.namespace
	not shared(ref.namespace)
	not granted(ref, "gateway.networking.k8s.io", "Gateway")
	finding := objection(sprintf("spec.parentRefs[%d]", [i]), sprintf("the parent %s/%s is in another namespace, which has no ReferenceGrant for it", [ref.namespace, ref.name]))
}

# backends are all references to where traffic goes, by path.
backends[path] := ref if {
	some i, rule in input.object.spec.rules
	some j, ref in rule.backendRefs
	path := sprintf("spec.rules[%d].backendRefs[%d]", [i, j])
}

backends[path] := ref if {
	some at, filter in filters
	some kind in ["requestMirror", "externalAuth"]
	ref := filter[kind].backendRef
	path := sprintf("%s.%s.backendRef", [at, kind])
}

filters[path] := filter if {
	some i, rule in input.object.spec.rules
	some j, filter in rule.filters
	path := sprintf("spec.rules[%d].filters[%d]", [i, j])
}

filters[path] := filter if {
	some i, rule in input.object.spec.rules
	some j, backend in rule.backendRefs
	some k, filter in backend.filters
	path := sprintf("spec.rules[%d].backendRefs[%d].filters[%d]", [i, j, k])
}

# granted says that the namespace of a reference admits it from this kind of route. The
# group and the kind are those of a reference that does not say.
granted(ref, group, kind) if {
	some grant in input.cluster
	grant.resource == "referencegrants"
	grant.group == "gateway.networking.k8s.io"
	grant.namespace == ref.namespace
	some from in grant.object.spec.from
	from.group == input.request.kind.group
	from.kind == input.request.kind.kind
	from.namespace == input.request.namespace
	some to in grant.object.spec.to
	to.group == object.get(ref, "group", group)
	to.kind == object.get(ref, "kind", kind)
	object.get(to, "name", ref.name) == ref.name
}

shared(namespace) if {
	some pattern in input.parameters.gatewayNamespaces
	glob.match(pattern, null, namespace)
}

objection(path, message) := {
	"msg": message,
	"path": concat("", [path, ".namespace"]),
	"fix": [{"op": "remove", "path": concat("", [path, ".namespace"])}],
}
