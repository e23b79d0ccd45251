# METADATA
# title: Ingress without TLS
# description: |
#   A host that no tls entry covers is served over plain HTTP: passwords, session cookies and tokens
#   can be read and answers forged by everybody on the way. An entry without hosts covers all of
#   them, a wildcard one label. Annotations that switch off the redirect keep plain HTTP open beside
#   TLS, where a stripped link is enough to use it.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/ingress/#tls
# custom:
#   severity: medium
#   match:
#     resources: [{group: networking.k8s.io, resources: [ingresses]}]
#   remediation: Add a tls entry with the host and the Secret of its certificate, in place of the placeholder of the fix.
#   controls:
#     nsa: [network-separation/tls]
#     nist-800-190: ["4.3.3"]
#   parameters:
#     type: object
#     properties:
#       plaintext:
#         description: Annotations that keep plain HTTP open, with the values that do.
#         type: array
#         items:
#           type: object
#           required: [key, values]
#           additionalProperties: false
#           properties:
#             key: {type: string}
#             values: {type: array, minItems: 1, items: {type: string}}
#         default:
#           - {key: nginx.ingress.kubernetes.io/ssl-redirect, values: ["false"]}
#           - {key: haproxy.org/ssl-redirect, values: ["false"]}
#           - {key: ingress.kubernetes.io/ssl-redirect, values: ["false"]}
package portcullis.network.ingress_tls

# A placeholder that the author replaces.
some_secret := "replace-me-tls"

deny contains finding if {
	some i, rule in input.object.spec.rules
	not covered(object.get(rule, "host", ""))
	finding := {
		"msg": sprintf("%s is served without TLS", [described(rule)]),
		"path": sprintf("spec.rules[%d].host", [i]),
		"fix": [{"op": "add", "path": "spec.tls", "value": entry(rule)}],
	}
}

deny contains finding if {
	input.object.spec.defaultBackend
	not input.object.spec.tls[0]
	finding := {
		"msg": "the default backend is served without TLS",
		"path": "spec.tls",
		"fix": [{"op": "add", "path": "spec.tls", "value": {"secretName": some_secret}}],
	}
}

deny contains finding if {
	some annotation in input.parameters.plaintext
	value := input.object.metadata.annotations[annotation.key]
	value in annotation.values
	path := sprintf("metadata.annotations[%s]", [annotation.key])
	finding := {
		"msg": sprintf("%s: %s keeps plain HTTP open", [annotation.key, value]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}

covered(host) if host in hosts

covered(host) if concat(".", array.concat(["*"], array.slice(split(host, "."), 1, 100))) in hosts

covered(_) if all_hosts

# A rule without arguments is evaluated once, however many hosts there are.
all_hosts if {
	some tls in input.object.spec.tls
	not tls.hosts[0]
}

hosts contains host if some host in input.object.spec.tls[_].hosts

described(rule) := sprintf("host %q", [rule.host])

described(rule) := "every host" if not rule.host

entry(rule) := {"hosts": [rule.host], "secretName": some_secret}

entry(rule) := {"secretName": some_secret} if not rule.host
