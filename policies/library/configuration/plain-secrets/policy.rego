# METADATA
# title: Secrets written into manifests
# description: |
#   base64 is no encryption: a Secret in a repository is readable for everybody who ever had
#   access to it, its forks and its backups. The policy applies at the gate, where manifests
#   come from files; in the cluster a Secret with data is what it ought to be.
# custom:
#   severity: high
#   match:
#     resources:
#       - group: ""
#         resources: [secrets]
#   remediation: >-
#     Let a controller write the Secret (from Vault or another store), or commit it encrypted
#     (SealedSecret, SOPS); rotate the credential, for it has been seen.
#   controls:
#     nsa: ["network-separation/secrets"]
#     nist-800-190: ["4.1.4"]
#     owasp-k8s: ["K08"]
#   doors: [gate]
#   parameters:
#     type: object
#     properties:
#       harmless:
#         description: What values look like that need no hiding, as regular expressions (RE2) - references, placeholders, switches, numbers, paths, URLs without a password.
#         type: array
#         items: {type: string}
#         default:
#           - '^\s*$'
#           - '^\$\([^()]*\)$'
#           - '^\$\{.*\}$'
#           - '^\$[A-Za-z_][0-9A-Za-z_]*$'
#           - '^<.*>$'
#           - '^\{\{.*\}\}$'
#           - '(?i)^(?:true|false|yes|no|on|off|none|null|nil|undefined|auto|default|enabled|disabled|required|optional)$'
#           - '(?i)^(?:replace|change)[-_ ]?(?:me|with|this|it).*$'
#           - '(?i)^(?:placeholder|redacted|dummy|todo|tbd|x{3,}|\*{3,}|\.{3,})$'
#           - '(?i)^(?:your|my|some)[-_ ].*$'
#           - '^[0-9]{1,6}(?:\.[0-9]+)?(?:ns|us|ms|s|m|h|d|Ki|Mi|Gi)?$'
#           - '^(?:/|\./|\.\./|~/)[0-9A-Za-z_./@-]*$'
#           - '^[a-z][a-z0-9+.-]*://[^\s@]*$'
#           - '^(?:arn:aws[a-z-]*:|vault:|projects/[^/]+/secrets/)'
#           - '^[a-z0-9.-]+-(?:secrets?|tokens?|credentials|passwords?|keys?)$'
#
#       exemptTypes:
#         description: Types of Secrets that are not judged.
#         type: array
#         items: {type: string}
#         default: [helm.sh/release.v1]
package portcullis.configuration.plain_secrets

import data.portcullis.lib.credentials

harmless := credentials.any_of(input.parameters.harmless)

deny contains finding if {
	some key, value in input.object.stringData
	not regex.match(harmless, value)
	not exempt_type
	finding := found("stringData", key)
}

deny contains finding if {
	some key, value in input.object.data
	base64.is_valid(value)
	not regex.match(harmless, base64.decode(value))
	not exempt_type
	finding := found("data", key)
}

exempt_type if input.object.type in input.parameters.exemptTypes

found(field, key) := {
	"msg": sprintf("the manifest holds the value of %s", [key]),
	"path": sprintf("%s[%s]", [field, key]),
	"fix": [{"op": "remove", "path": sprintf("%s[%s]", [field, key])}],
}
