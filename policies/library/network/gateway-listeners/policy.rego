# METADATA
# title: Gateway listeners
# description: |
#   A listener without TLS shows passwords and tokens to everybody on the way. A listener that takes
#   routes from all namespaces lets each tenant publish under the Gateway's hosts and certificates,
#   also under a host that another team uses; a Gateway that takes listeners from all namespaces lets
#   them open ports of their own. A selector without terms is all namespaces, too.
# related_resources:
#   - https://gateway-api.sigs.k8s.io/guides/tls/
#   - https://gateway-api.sigs.k8s.io/guides/multiple-ns/
# custom:
#   severity: medium
#   match:
#     resources:
#       - {group: gateway.networking.k8s.io, resources: [gateways, listenersets]}
#       - {group: gateway.networking.x-k8s.io, resources: [xlistenersets]}
#   remediation: Use HTTPS or TLS with a certificate, and take routes and listeners from the same namespace or from selected ones.
#   controls:
#     nsa: [network-separation/tls]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       protocols:
#         description: Protocols that listeners may use. The first is that of the fix; a listener for HTTP that only redirects has to be excepted or allowed here.
#         type: array
#         minItems: 1
#         items: {type: string}
#         default: [HTTPS, TLS]
#       from:
#         description: From which namespaces listeners may take routes, and Gateways listeners.
#         type: array
#         minItems: 1
#         items: {enum: [Same, Selector, None, All]}
#         default: [Same, Selector, None]
package portcullis.network.gateway_listeners

import data.portcullis.lib.peers

# A placeholder that the author replaces.
some_certificate := {"name": "replace-me-tls"}

deny contains finding if {
	some i, listener in input.object.spec.listeners
	not listener.protocol in input.parameters.protocols
	path := sprintf("spec.listeners[%d]", [i])
	finding := {
		"msg": sprintf("listener %q uses %s", [listener.name, listener.protocol]),
		"path": concat("", [path, ".protocol"]),
		"fix": [
			{"op": "set", "path": concat("", [path, ".protocol"]), "value": input.parameters.protocols[0]},
			{"op": "set", "path": concat("", [path, ".tls.certificateRefs"]), "value": [some_certificate]},
		],
	}
}

deny contains finding if {
	some i, listener in input.object.spec.listeners
	listener.protocol in ["HTTPS", "TLS"]
	not listener.tls.mode == "Passthrough"
	not listener.tls.certificateRefs[0]
	path := sprintf("spec.listeners[%d].tls.certificateRefs", [i])
	finding := {
		"msg": sprintf("listener %q has no certificate", [listener.name]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": [some_certificate]}],
	}
}

deny contains finding if {
	some path, invitation in invitations
	not invitation.namespaces.from in input.parameters.from
	finding := objection(path, sprintf("%s are taken from namespaces %q", [invitation.what, invitation.namespaces.from]))
}

deny contains finding if {
	some path, invitation in invitations
	invitation.namespaces.from == "Selector"
	not peers.narrows(invitation.namespaces, "selector")
	finding := objection(path, sprintf("%s are taken from all namespaces by a selector without terms", [invitation.what]))
}

# invitations are the fields that say whose routes or listeners are taken, by path.
invitations[path] := {"what": "routes", "namespaces": listener.allowedRoutes.namespaces} if {
	some i, listener in input.object.spec.listeners
	path := sprintf("spec.listeners[%d].allowedRoutes.namespaces", [i])
}

invitations["spec.allowedListeners.namespaces"] := {
	"what": "listeners",
	"namespaces": input.object.spec.allowedListeners.namespaces,
}

objection(path, message) := {
	"msg": message,
	"path": concat("", [path, ".from"]),
	"fix": [{"op": "set", "path": concat("", [path, ".from"]), "value": "Same"}],
}
