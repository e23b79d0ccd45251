# METADATA
# title: Ingress for every host
# description: |
#   A rule without a host, a wildcard host or a default backend takes requests for names nobody has
#   claimed yet, those of other teams' future applications included. Whoever holds such a rule
#   answers for a name the moment its DNS entry exists and its own Ingress does not: a takeover
#   that needs no access to DNS. It also answers for names that attackers point at the address.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/ingress/#hostname-wildcards
# custom:
#   severity: medium
#   match:
#     resources: [{group: networking.k8s.io, resources: [ingresses]}]
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
package portcullis.network.ingress_wildcard_hosts

# A placeholder that the author replaces (RFC 2606).
some_host := "replace-me.example.com"

deny contains finding if {
	some i, rule in input.object.spec.rules
	object.get(rule, "host", "") == ""
	finding := objection(i, sprintf("rule %d is for every host", [i]))
}

deny contains finding if {
	some i, rule in input.object.spec.rules
	startswith(rule.host, "*")
	not rule.host in input.parameters.allowed
	finding := objection(i, sprintf("rule %d is for every host of %q", [i, rule.host]))
}

deny contains finding if {
	input.object.spec.defaultBackend
	finding := {
		"msg": "the default backend is for every host that no rule names",
		"path": "spec.defaultBackend",
		"fix": [
			{"op": "add", "path": "spec.rules", "value": rule_for_backend},
			{"op": "remove", "path": "spec.defaultBackend"},
		],
	}
}

objection(i, message) := {
	"msg": message,
	"path": sprintf("spec.rules[%d].host", [i]),
	"fix": [{"op": "set", "path": sprintf("spec.rules[%d].host", [i]), "value": some_host}],
}

# The default backend gets a host of its own.
rule_for_backend := {
	"host": some_host,
	"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": input.object.spec.defaultBackend}]},
}
