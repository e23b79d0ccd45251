# METADATA
# title: Gateways and routes for every host
# description: |
#   A listener without a hostname serves every host that reaches the address, and a wildcard every
#   one of a domain. Names nobody serves yet are then answered by whoever attached a route: the new
#   application of another team, or a forgotten DNS entry, in a stranger's hands. Routes without
#   hostnames take those of their listener; routes with a wildcard claim more than they serve.
# related_resources:
#   - https://gateway-api.sigs.k8s.io/concepts/hostnames/
# custom:
#   severity: medium
#   match:
#     resources:
#       - {group: gateway.networking.k8s.io, resources: [gateways, listenersets, httproutes, grpcroutes, tlsroutes]}
#       - {group: gateway.networking.x-k8s.io, resources: [xlistenersets]}
#   remediation: Name the hosts, in place of the placeholder of the fix.
#   controls:
#     nsa: [network-separation/network-policies]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Wildcard hosts that may be used, such as "*.preview.example.com".
#         type: array
#         items: {type: string}
#         default: []
package portcullis.network.gateway_wildcard_hosts

# A placeholder that the author replaces (RFC 2606).
some_host := "replace-me.example.com"

deny contains finding if {
	some i, listener in input.object.spec.listeners
	listener.protocol in ["HTTP", "HTTPS", "TLS"]
	object.get(listener, "hostname", "") == ""
	finding := objection(sprintf("spec.listeners[%d].hostname", [i]), sprintf("listener %q is for every host", [listener.name]))
}

deny contains finding if {
	some i, listener in input.object.spec.listeners
	startswith(listener.hostname, "*")
	not listener.hostname in input.parameters.allowed
	finding := objection(sprintf("spec.listeners[%d].hostname", [i]), sprintf("listener %q is for every host of %q", [listener.name, listener.hostname]))
}

deny contains finding if {
	some i, hostname in input.object.spec.hostnames
	startswith(hostname, "*")
	not hostname in input.parameters.allowed
	finding := objection(sprintf("spec.hostnames[%d]", [i]), sprintf("the route is for every host of %q", [hostname]))
}

objection(path, message) := {
	"msg": message,
	"path": path,
	"fix": [{"op": "set", "path": path, "value": some_host}],
}
