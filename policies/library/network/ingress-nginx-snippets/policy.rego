# METADATA
# title: Dangerous ingress-nginx annotations
# description: |
#   ingress-nginx writes annotations and paths into the configuration of one nginx that serves all
#   tenants and can read their Secrets. Snippets are configuration by design (CVE-2021-25742); in
#   auth-url, auth-tls-match-cn, mirror-*, auth-proxy-set-headers, auth-method, rewrite-target and
#   the path of a rule ways were found to smuggle it in (CVE-2025-24514, CVE-2025-1097,
#   CVE-2025-1098, CVE-2025-15566, CVE-2026-1580, CVE-2026-3288, CVE-2026-24512), and CVE-2025-1974
#   ran it without any rights at all. Who may create an Ingress thus reads every Secret of the
#   cluster. Refused are the annotations of the list, and in all others and in paths the characters
#   and words that configuration is made of. ingress-nginx is no longer maintained.
# related_resources:
#   - https://github.com/kubernetes/kubernetes/issues/126811
#   - https://github.com/kubernetes/kubernetes/issues/131009
#   - https://github.com/kubernetes/kubernetes/issues/136678
# custom:
#   severity: critical
#   match:
#     resources: [{group: networking.k8s.io, resources: [ingresses]}]
#   remediation: Remove the annotation, or the path that nginx would read as configuration.
#   controls:
#     nsa: [authorization/rbac]
#     owasp-k8s: [K09]
#   parameters:
#     type: object
#     properties:
#       prefixes:
#         description: Prefixes of the controller's annotations, see its flag --annotations-prefix.
#         type: array
#         items: {type: string}
#         default: [nginx.ingress.kubernetes.io]
#       forbidden:
#         description: Globs of annotations, without the prefix, that are refused whatever their value.
#         type: array
#         items: {type: string}
#         default: ["*-snippet", "*-snippets", auth-url, auth-signin, auth-method, auth-proxy-set-headers, "auth-tls-*", "mirror-*"]
#       forbiddenText:
#         description: Text, in lower case, that no other annotation of the controller may contain.
#         type: array
#         items: {type: string}
#         default: ["\n", "\r", "{", "}", ";", "\"", "'", "\\", load_module, lua_package, _by_lua, proxy_pass, serviceaccount]
#       forbiddenInPaths:
#         description: Text, in lower case, that no path of a rule may contain.
#         type: array
#         items: {type: string}
#         default: ["\n", "\r", "{", "}", ";", "\"", "'", "#", " ", load_module, _by_lua, proxy_pass, serviceaccount]
package portcullis.network.ingress_nginx_snippets

deny contains finding if {
	some key, name in names
	some pattern in input.parameters.forbidden
	glob.match(pattern, null, name)
	finding := objection(key, sprintf("annotation %s can write nginx configuration", [name]))
}

deny contains finding if {
	some key, name in names
	some text in input.parameters.forbiddenText
	contains(lower(input.object.metadata.annotations[key]), text)
	finding := objection(key, sprintf("annotation %s contains %q, which nginx could read as configuration", [name, text]))
}

deny contains finding if {
	some i, rule in input.object.spec.rules
	some j, entry in rule.http.paths
	some text in input.parameters.forbiddenInPaths
	contains(lower(entry.path), text)
	path := sprintf("spec.rules[%d].http.paths[%d].path", [i, j])
	finding := {
		"msg": sprintf("the path contains %q, which nginx could read as configuration", [text]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": "/replace-me"}],
	}
}

# names are the controller's annotations, without the prefix, by key.
names[key] := name if {
	some key, _ in input.object.metadata.annotations
	some prefix in input.parameters.prefixes
	startswith(key, concat("", [prefix, "/"]))
	name := substring(key, count(prefix) + 1, -1)
}

objection(key, message) := {
	"msg": message,
	"path": sprintf("metadata.annotations[%s]", [key]),
	"fix": [{"op": "remove", "path": sprintf("metadata.annotations[%s]", [key])}],
}
