# METADATA
# title: Private keys in ConfigMaps
# description: |
#   Whoever reads a private key is whoever it belongs to: the web server, the client, the
#   certificate authority. ConfigMaps are for everybody with view rights. Beside a certificate
#   in the same file a key is easily overlooked.
#
#   Found are private keys by their format, in text and binary entries, and entries named as
#   key files are.
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: ""
#         resources: [configmaps]
#   remediation: >-
#     Move the key to a Secret of type kubernetes.io/tls or kubernetes.io/ssh-auth and replace
#     it, for it has been seen.
#   controls:
#     nsa: ["network-separation/secrets"]
#     nist-800-190: ["4.1.4"]
#     owasp-k8s: ["K08"]
#   parameters:
#     type: object
#     properties:
#       formats:
#         description: Formats by which a private key is known, each with the name that findings give it and a regular expression (RE2).
#         type: array
#         items:
#           type: object
#           properties: {name: {type: string}, pattern: {type: string}}
#           required: [name, pattern]
#           additionalProperties: false
#         default:
#           - {name: PEM private key, pattern: '-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----'}
#           - {name: PuTTY private key, pattern: 'PuTTY-User-Key-File-[0-9]'}
#           - {name: client key of a kubeconfig, pattern: '\bclient-key-data\s*:\s*[A-Za-z0-9+/]{16,}'}
#           - {name: age secret key, pattern: '\bAGE-SECRET-KEY-1[0-9A-Z]{40,}'}
#
#       files:
#         description: Globs of the names of binary entries that are key files; * is any run of characters.
#         type: array
#         items: {type: string}
#         default: ["*.p12", "*.pfx", "*.ppk", "*keystore*", id_rsa, id_dsa, id_ecdsa, id_ed25519]
package portcullis.configuration.secret_as_configmap_keys

import data.portcullis.lib.credentials

settings := credentials.settings(input.parameters.formats, [], [], 0, 0)

deny contains finding if {
	some key, value in input.object.data
	format := credentials.known_format(value, settings)
	finding := found("data", key, format)
}

deny contains finding if {
	some key, value in input.object.binaryData
	base64.is_valid(value)
	format := credentials.known_format(base64.decode(value), settings)
	finding := found("binaryData", key, format)
}

# Key stores are binary: their content says little, their name enough.
deny contains finding if {
	some key, _ in input.object.binaryData
	some pattern in input.parameters.files
	glob.match(pattern, null, key)
	finding := found("binaryData", key, "key file by its name")
}

found(field, key, what) := {
	"msg": sprintf("key %s holds a %s", [key, what]),
	"path": sprintf("%s[%s]", [field, key]),
	"fix": [{"op": "remove", "path": sprintf("%s[%s]", [field, key])}],
}
