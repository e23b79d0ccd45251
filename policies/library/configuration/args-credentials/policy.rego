# METADATA
# title: Credentials in commands and arguments
# description: |
#   Command lines are even more public than environment variables: every process on the node
#   sees them in /proc, they stand in the manifest, in events and in crash reports.
#
#   Found are known formats, flags and assignments such as --password=… or PGPASSWORD=… with a
#   literal value, and the word that follows such a flag. No finding repeats the value.
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: >-
#     Put the value into a Secret, take it into the variable CREDENTIAL with
#     valueFrom.secretKeyRef, and write $(CREDENTIAL) instead; rotate the credential, for it
#     has been seen.
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
#         description: How many characters a word of the command or an argument may have. A longer one is not looked through but refused; Linux itself takes no more than 131072.
#         type: integer
#         minimum: 256
#         default: 65536
package portcullis.configuration.args_credentials

import data.portcullis.lib.credentials

settings := credentials.settings(
	input.parameters.formats,
	input.parameters.names,
	input.parameters.harmless,
	input.parameters.minLength,
	input.parameters.minEntropy,
)

deny contains finding if {
	some container in input.workload.containers
	some i, argument in array.concat(container.command, container.args)
	count(argument) <= input.parameters.maxLength
	regex.match(settings.format, argument)
	format := credentials.known_format(argument, settings)
	finding := found(container, i, sprintf("holds a credential: %s", [format]), credentials.masked(argument, settings))
}

deny contains finding if {
	some container in input.workload.containers
	some i, argument in array.concat(container.command, container.args)
	count(argument) <= input.parameters.maxLength
	regex.match(settings.assigned, argument)
	names := {assignment.name | some assignment in credentials.assignments(argument, settings)}
	names != set()
	what := sprintf("gives a literal value to %s", [concat(", ", sort(names))])
	finding := found(container, i, what, credentials.masked(argument, settings))
}

deny contains finding if {
	some container in input.workload.containers
	some i, argument in array.concat(container.command, container.args)
	count(argument) > input.parameters.maxLength
	what := sprintf("has %d characters, too many to look through", [count(argument)])
	finding := found(container, i, what, credentials.reference)
}

# The value follows its flag, which may be the last word of the command.
deny contains finding if {
	some container in input.workload.containers
	some i, argument in array.concat(container.command, container.args)
	startswith(argument, "-")
	regex.match(settings.named, argument)
	value := array.concat(container.command, container.args)[i + 1]
	not startswith(value, "-")
	not regex.match(settings.harmless, value)
	finding := found(container, i + 1, sprintf("gives a literal value to %s", [argument]), credentials.reference)
}

found(container, i, what, fixed) := {
	"msg": sprintf("%s %d of container %q %s", [place.word, place.index, container.name, what]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": fixed}],
} if {
	place := place_of(container, i)
	path := sprintf("%s.%s[%d]", [container.path, place.field, place.index])
}

# place_of says in which list the word is: the arguments follow the command.
place_of(container, i) := {"field": "command", "word": "word", "index": i} if i < count(container.command)

place_of(container, i) := {"field": "args", "word": "argument", "index": i - count(container.command)} if i >= count(container.command)
