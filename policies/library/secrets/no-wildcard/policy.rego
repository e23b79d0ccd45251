# METADATA
# title: Names that mean more than they say
# description: |
#   A mount, a path, a role or the name of a key in Vault is one name. Wildcards and templates in one mean something to Vault's policies, to shells and to
#   tools that copy them, and a path that climbs or is empty between two slashes is another one than it seems. None is read or written.
# related_resources:
#   - https://developer.hashicorp.com/vault/docs/concepts/policies#policy-syntax
# custom:
#   severity: high
#   match:
#     syncs: {}
#   remediation: >-
#     Write the name out: letters, digits, and - . _ @ : = ~ between slashes.
#   controls:
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: [K03, K08]
#   parameters:
#     type: object
#     properties:
#       pattern:
#         description: What a whole name may look like, as a regular expression (RE2).
#         type: string
#         default: '^[0-9A-Za-z_.@:=~-]+(/[0-9A-Za-z_.@:=~-]+)*$'
package portcullis.secrets.no_wildcard

deny contains finding if {
	some name in names
	not regex.match(input.parameters.pattern, name.value)
	finding := {
		"msg": sprintf("the %s %q is not one plain name", [name.of, name.value]),
		"path": name.path,
	}
}

# Names that climb stand for others.
deny contains finding if {
	some name in names
	regex.match(`(^|/)\.{1,2}(/|$)`, name.value)
	finding := {
		"msg": sprintf("the %s %q climbs", [name.of, name.value]),
		"path": name.path,
	}
}

names contains {"of": "mount", "value": input.sync.vault.mount, "path": place}

names contains {"of": "path", "value": input.sync.vault.path, "path": place}

names contains {"of": "mount of the auth method", "value": input.sync.auth.mount, "path": "spec.auth"}

# The role id of an AppRole is no name that anybody has chosen, and a certificate needs no role.
names contains {"of": "role", "value": input.sync.auth.role, "path": "spec.auth"} if input.sync.auth.method in ["kubernetes", "jwt"]

place := "spec.source" if input.request.operation == "SYNC"

place := "spec.destination" if input.request.operation == "PUSH"
