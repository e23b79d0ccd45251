# METADATA
# title: Vault without TLS
# description: |
#   Tokens and secrets in plain text can be read wherever they pass by, on a node's loopback too (pods with hostNetwork share it). VaultConnections have https addresses;
#   http is for loopback in development only, and no cluster is that.
# related_resources:
#   - https://developer.hashicorp.com/vault/docs/concepts/production-hardening
# custom:
#   severity: critical
#   match:
#     syncs: {}
#   remediation: >-
#     Give Vault a certificate and the VaultConnection an https address with its authority in caBundle.
#   controls:
#     nsa: [network-separation/secrets]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K08]
#     mitre: [T1040]
#   parameters:
#     type: object
#     properties:
#       plain:
#         description: Names of VaultConnections that may have an http address, in development.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
package portcullis.secrets.connection_tls

deny contains finding if {
	not startswith(input.sync.connection.address, "https://")
	not input.sync.connection.name in input.parameters.plain
	finding := {
		"msg": sprintf("the VaultConnection %s has the address %s, which is not https", [input.sync.connection.name, input.sync.connection.address]),
		"path": "spec.auth",
	}
}
