# METADATA
# title: Secrets that are looked at too seldom or last too long
# description: |
#   A new version in Vault helps when it is read, and what was issued is as good as stolen for as long as it lasts. So there is a longest interval of refreshing for
#   what does not end by itself, and a longest life of what does: leases, certificates, secret ids of AppRoles. A secret id without an end is denied.
# related_resources:
#   - https://developer.hashicorp.com/vault/docs/concepts/lease
# custom:
#   severity: medium
#   match:
#     syncs:
#       operations: [SYNC]
#   remediation: >-
#     Shorten spec.refresh.interval (and leave out once), or ask for a shorter ttl, in the object or in the role of Vault.
#   controls:
#     nist-800-190: ["4.1.4"]
#     owasp-k8s: [K08]
#   parameters:
#     type: object
#     properties:
#       refreshHours:
#         description: The longest interval of refreshing, in hours.
#         type: integer
#         minimum: 1
#         default: 24
#       once:
#         description: Whether a secret may be read once and never again.
#         enum: [permit, deny]
#         default: deny
#       leaseHours:
#         description: The longest life of a lease as it was granted, in hours.
#         type: integer
#         minimum: 1
#         default: 768
#       certificateHours:
#         description: The longest life of a certificate, in hours.
#         type: integer
#         minimum: 1
#         default: 2160
#       secretIDHours:
#         description: The longest life of a secret id, in hours.
#         type: integer
#         minimum: 1
#         default: 768
package portcullis.secrets.minimum_rotation

deny contains finding if {
	input.sync.refreshSeconds > input.parameters.refreshHours * 3600
	finding := {
		"msg": sprintf("it is refreshed every %d hours, and every %d is the least", [floor(input.sync.refreshSeconds / 3600), input.parameters.refreshHours]),
		"path": "spec.refresh.interval",
	}
}

deny contains finding if {
	input.sync.refreshSeconds < 0
	input.parameters.once == "deny"
	finding := {"msg": "it is read once and never again", "path": "spec.refresh.once"}
}

deny contains finding if {
	some engine, hours in longest
	input.sync.vault.engine == engine
	input.sync.secret.lifetimeSeconds > hours * 3600
	finding := {
		"msg": sprintf("it lasts %d hours, and %d are the most", [floor(input.sync.secret.lifetimeSeconds / 3600), hours]),
		"path": "spec.source",
	}
}

deny contains finding if {
	input.sync.vault.engine == "approle"
	input.sync.secret.lifetimeSeconds == 0
	finding := {"msg": "the secret id never ends", "path": "spec.source.appRoleSecretID.ttl"}
}

longest := {
	"dynamic": input.parameters.leaseHours,
	"pki": input.parameters.certificateHours,
	"approle": input.parameters.secretIDHours,
}
