# METADATA
# title: Hosts claimed by two namespaces
# description: |
#   Controllers merge the Ingresses of all namespaces. Who names a host that another team already
#   serves gets a share of its requests: a more specific path suffices to receive the logins, cookies
#   and tokens meant for the other, and which of two equal rules wins is left to the controller. A
#   host therefore belongs to the namespace that has it.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/ingress/
# custom:
#   severity: high
#   match:
#     resources: [{group: networking.k8s.io, resources: [ingresses]}]
#   remediation: Use a host of your own in place of the placeholder of the fix, or have the Ingress of the other namespace removed.
#   controls:
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   reads:
#     - {group: networking.k8s.io, resource: ingresses, scope: cluster, more: denies}
#   parameters:
#     type: object
#     properties:
#       shared:
#         description: Globs of hosts that namespaces share on purpose; * matches dots too.
#         type: array
#         items: {type: string}
#         default: []
package portcullis.network.ingress_host_collisions

deny contains finding if {
	some i, rule in input.object.spec.rules
	some namespace in holders(rule.host)
	not shared(rule.host)
	path := sprintf("spec.rules[%d].host", [i])
	finding := {
		"msg": sprintf("host %q belongs to an Ingress of namespace %q", [rule.host, namespace]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": sprintf("%s.replace-me.example.com", [input.request.namespace])}],
	}
}

# holders are the other namespaces with an Ingress for a host.
holders(host) := {other.namespace |
	some other in input.cluster
	other.resource == "ingresses"
	other.group == "networking.k8s.io"
	other.namespace != input.request.namespace
	other.object.spec.rules[_].host == host
}

shared(host) if {
	some pattern in input.parameters.shared
	glob.match(pattern, null, host)
}
