# METADATA
# title: Credentials in ConfigMaps
# description: |
#   ConfigMaps are read by everybody with view rights, are not encrypted where Secrets are,
#   and end up in debugging output. A password in one is public in the namespace.
#
#   Found are known formats anywhere in a value (binary ones included), literal values under a
#   key that says what they are, and long random words. Assignments inside a text, such as
#   password=… in a properties file, only warn. No finding repeats the value.
#
#   Of large entries the beginning and the end are looked through, with a warning: a credential in the
#   middle of a megabyte is not found.
# custom:
#   severity: high
#   match:
#     resources:
#       - group: ""
#         resources: [configmaps]
#   remediation: >-
#     Move the entry to a Secret and mount that instead; rotate the credential, for it has
#     been seen.
#   controls:
#     nsa: ["network-separation/secrets"]
#     nist-800-190: ["4.1.4"]
#     owasp-k8s: ["K08"]
#   parameters:
#     type: object
#     properties:
#       formats:
#         description: Formats by which a credential is known, each with the name that findings give it and a regular expression (RE2).
#         type: array
#         items:
#           type: object
#           properties: {name: {type: string}, pattern: {type: string}}
#           required: [name, pattern]
#           additionalProperties: false
#         default:
#           - {name: AWS access key, pattern: '\b(?:AKIA|ASIA)[0-9A-Z]{16}\b'}
#           - {name: Google API key, pattern: '\bAIza[0-9A-Za-z_-]{35}\b'}
#           - {name: Google service account key, pattern: '"private_key"\s*:\s*"-----BEGIN'}
#           - {name: Azure storage key, pattern: 'AccountKey=[A-Za-z0-9+/]{86}=='}
#           - {name: GitHub token, pattern: '\b(?:gh[pousr]_[0-9A-Za-z]{36,}|github_pat_[0-9A-Za-z_]{22,})'}
#           - {name: GitLab token, pattern: '\bgl(?:pat|ptt|dt|rt)-[0-9A-Za-z_-]{20,}'}
#           - {name: Slack token, pattern: '\bxox[abeoprs]-[0-9A-Za-z-]{10,}'}
#           - {name: Slack webhook, pattern: 'hooks\.slack\.com/(?:services|workflows)/[0-9A-Za-z_/]{20,}'}
#           - {name: Stripe key, pattern: '\b[rs]k_live_[0-9A-Za-z]{16,}'}
#           - {name: npm token, pattern: '\bnpm_[0-9A-Za-z]{36}\b'}
#           - {name: PyPI token, pattern: '\bpypi-[0-9A-Za-z_-]{50,}'}
#           - {name: SendGrid key, pattern: '\bSG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}'}
#           - {name: OpenAI or Anthropic key, pattern: '\bsk-(?:ant-|proj-)?[0-9A-Za-z_-]{32,}'}
#           - {name: Vault token, pattern: '\bhv[sbr]\.[0-9A-Za-z_-]{24,}'}
#           - {name: JSON web token, pattern: '\beyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}'}
#           - {name: private key, pattern: '-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----'}
#           - {name: registry password, pattern: '"auth"\s*:\s*"[A-Za-z0-9+/]{8,}=*"'}
#           - {name: authorization header, pattern: '(?i)\bauthorization["'']?\s*[:=]\s*["'']?(?:basic|bearer)\s+[0-9A-Za-z._~+/-]{8,}'}
#           - {name: password in a URL, pattern: '[a-z][a-z0-9+.-]*://[^/\s:@?#"'']*:(?:[^$<{*/\s@"'']|\$[^({/\s@"''])[^/\s@"'']*@'}
#
#       names:
#         description: What the names of credentials end with, as regular expressions (RE2) without regard to case.
#         type: array
#         items: {type: string}
#         default:
#           - passw(?:or)?d
#           - passphrase
#           - '(?:^|[_.-])(?:pwd|pass)'
#           - secret
#           - token
#           - credentials?
#           - api[_.-]?key
#           - '(?:access|account|auth|encryption|master|private|secret|signing)[_.-]?key'
#
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
#       minLength:
#         description: How long a value must be to be judged by its entropy.
#         type: integer
#         minimum: 8
#         maximum: 256
#         default: 32
#       minEntropy:
#         description: From how many bits per character on a value of capitals, small letters and digits counts as random.
#         type: number
#         minimum: 0
#         default: 4.35
#       maxLength:
#         description: How many characters of all entries together are looked through, 64 added for each entry. Of a longer ConfigMap each entry has an equal share, its beginning and end; one with so many entries that a share is less than 512 is refused.
#         type: integer
#         minimum: 4096
#         default: 131072
package portcullis.configuration.configmap_credentials

import data.portcullis.lib.credentials

settings := credentials.settings(
	input.parameters.formats,
	input.parameters.names,
	input.parameters.harmless,
	input.parameters.minLength,
	input.parameters.minEntropy,
)

# How long the entries are; each takes its time, however short it is.
lengths := array.concat(
	[length | some key, value in input.object.data; length := (count(key) + count(value)) + 64],
	[length | some key, value in input.object.binaryData; length := (count(key) + count(value)) + 64],
)

share := credentials.shares(lengths, input.parameters.maxLength)

deny contains finding if {
	some key, value in input.object.data
	reason := credentials.reason(key, credentials.part(value, share), settings)
	finding := found("data", key, reason)
}

deny contains finding if {
	some key, value in input.object.binaryData
	base64.is_valid(value)
	format := credentials.known_format(credentials.part(base64.decode(value), share), settings)
	finding := found("binaryData", key, sprintf("holds a credential: %s", [format]))
}

deny contains finding if {
	not share
	some field in ["data", "binaryData"]
	entries := {"data": object.get(input.object, "data", {}), "binaryData": object.get(input.object, "binaryData", {})}[field]
	count(entries) > 0
	finding := {
		"msg": sprintf("%s has %d entries, too many to look through", [field, count(entries)]),
		"path": field,
		"fix": [{"op": "remove", "path": field}],
	}
}

warn contains finding if {
	some key, value in input.object.data
	count(value) > share
	finding := found("data", key, sprintf("is too long to look through but for %d characters", [share]))
}

warn contains finding if {
	some key, value in input.object.binaryData
	count(base64.decode(value)) > share
	finding := found("binaryData", key, sprintf("is too long to look through but for %d characters", [share]))
}

# Whether a line of a file is a setting or a sentence cannot be known: a warning.
warn contains finding if {
	some key, value in input.object.data
	text := credentials.part(value, share)
	not credentials.reason(key, text, settings)
	names := {assignment.name | some assignment in credentials.assignments(text, settings)}
	names != set()
	finding := found("data", key, sprintf("gives a literal value to %s", [concat(", ", sort(names))]))
}

found(field, key, what) := {
	"msg": sprintf("key %s %s", [key, what]),
	"path": sprintf("%s[%s]", [field, key]),
	"fix": [{"op": "remove", "path": sprintf("%s[%s]", [field, key])}],
}
