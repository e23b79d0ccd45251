# METADATA
# title: Credentials in environment variables
# description: |
#   A value written into a manifest is readable for everybody who may read the workload, in
#   Git, in etcd, in backups and in every diff; it is never rotated, and one leaked repository
#   is a break-in.
#
#   Found are known formats, literal values of variables whose name says what they are, and
#   long random words (Shannon entropy; hexadecimal ones only by their name). No finding
#   repeats the value.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/secrets-good-practices/
# custom:
#   severity: high
#   match:
#     workload: any
#   remediation: >-
#     Put the value into a Secret and refer to it with valueFrom.secretKeyRef, replacing the
#     placeholder of the fix; rotate the credential, for it has been seen.
#   controls:
#     nsa: ["network-separation/secrets"]
#     cis: ["5.4.1"]
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
#         description: How many characters the value of a variable may have. A longer one is not looked through but refused; Linux itself takes no more than 131072.
#         type: integer
#         minimum: 256
#         default: 65536
package portcullis.configuration.env_credentials

import data.portcullis.lib.credentials

settings := credentials.settings(
	input.parameters.formats,
	input.parameters.names,
	input.parameters.harmless,
	input.parameters.minLength,
	input.parameters.minEntropy,
)

# What makes a variable suspicious is tested first, in the three ways there are:
# it settles nearly every variable. The reason is the same whichever of them led to it.

deny contains found(container, variable) if {
	some container in input.workload.containers
	some variable in container.env
	variable.source == "value"
	count(variable.value) <= input.parameters.maxLength
	regex.match(settings.format, variable.value)
}

deny contains found(container, variable) if {
	some container in input.workload.containers
	some variable in container.env
	variable.source == "value"
	count(variable.value) <= input.parameters.maxLength
	regex.match(settings.named, variable.name)
}

deny contains found(container, variable) if {
	some container in input.workload.containers
	some variable in container.env
	variable.source == "value"
	count(variable.value) >= settings.minimum_length
	count(variable.value) <= credentials.longest_word
}

deny contains finding if {
	some container in input.workload.containers
	some variable in container.env
	count(variable.value) > input.parameters.maxLength
	reason := sprintf("has %d characters, too many to look through", [count(variable.value)])
	finding := finding_of(container, variable, reason)
}

found(container, variable) := finding_of(container, variable, credentials.reason(variable.name, variable.value, settings))

finding_of(container, variable, reason) := {
	"msg": sprintf("variable %s of container %q %s", [variable.name, container.name, reason]),
	"path": concat("", [variable.path, ".value"]),
	"fix": [
		{"op": "remove", "path": concat("", [variable.path, ".value"])},
		{
			"op": "set",
			"path": concat("", [variable.path, ".valueFrom.secretKeyRef"]),
			"value": {"name": "replace-with-a-secret", "key": variable.name},
		},
	],
}
