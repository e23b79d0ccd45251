# METADATA
# title: Age of static secrets
# description: |
#   A password that nobody has changed for a year is known to everybody who has left since. Vault says when a version of the key-value engine 2 was written; what
#   is older than it may be is not written into the cluster anew (what is there stays), and some time before there is a warning.
#
#   Version 1 of the engine keeps no dates: it is denied only if unknown says so.
# related_resources:
#   - https://developer.hashicorp.com/vault/docs/secrets/kv/kv-v2
# custom:
#   severity: medium
#   match:
#     syncs:
#       operations: [SYNC]
#       engines: [kv-v1, kv-v2]
#   remediation: >-
#     Change the secret where it is used, write the new version to Vault, and take out spec.source.kv.version if it pins the old one.
#   controls:
#     nist-800-190: ["4.1.4"]
#     owasp-k8s: [K08]
#   parameters:
#     type: object
#     properties:
#       denyDays:
#         description: How old a version may be, in days.
#         type: integer
#         minimum: 1
#         default: 365
#       warnDays:
#         description: From which age on there is a warning.
#         type: integer
#         minimum: 1
#         default: 180
#       unknown:
#         description: What becomes of secrets whose age Vault does not say.
#         enum: [permit, deny]
#         default: permit
package portcullis.secrets.static_secret_age

deny contains finding if {
	input.sync.secret.ageSeconds > input.parameters.denyDays * 86400
	finding := {"msg": sprintf("this version is %d days old, and %d are allowed", [days, input.parameters.denyDays]), "path": "spec.source.kv"}
}

warn contains finding if {
	input.sync.secret.ageSeconds > input.parameters.warnDays * 86400
	input.sync.secret.ageSeconds <= input.parameters.denyDays * 86400
	finding := {"msg": sprintf("this version is %d days old; after %d it will be denied", [days, input.parameters.denyDays]), "path": "spec.source.kv"}
}

deny contains finding if {
	input.sync.secret.ageSeconds < 0
	input.parameters.unknown == "deny"
	finding := {"msg": "nobody knows how old it is: the key-value engine 1 keeps no dates", "path": "spec.source.kv"}
}

days := floor(input.sync.secret.ageSeconds / 86400)
