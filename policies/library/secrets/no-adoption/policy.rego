# METADATA
# title: Taking over what somebody else made
# description: |
#   A VaultSecret with destination.adopt takes over a Secret that exists, and a VaultPush with destination.overwrite a secret of Vault: what was in it is lost, and
#   workloads get what they did not expect. Both are for migrations, in the namespaces that are being migrated.
# related_resources:
#   - https://github.com/hashicorp/vault-secrets-operator/issues/337
# custom:
#   severity: medium
#   match:
#     syncs: {}
#   remediation: >-
#     Choose another destination, delete the Secret that is in the way, or have the namespace added to the policy's parameter namespaces while it is migrated.
#   controls:
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: [K08]
#   parameters:
#     type: object
#     properties:
#       namespaces:
#         description: Globs of namespaces that may.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
package portcullis.secrets.no_adoption

deny contains finding if {
	input.sync.destination.adopts
	not migrating
	finding := {"msg": taken[input.request.operation].msg, "path": taken[input.request.operation].path}
}

taken := {
	"SYNC": {"msg": sprintf("it may take over the %s %q, which somebody else could have made", [input.sync.destination.kind, input.sync.destination.name]), "path": "spec.destination.adopt"},
	"PUSH": {"msg": sprintf("it may overwrite %s/%s, which somebody else could have written", [input.sync.vault.mount, input.sync.vault.path]), "path": "spec.destination.overwrite"},
}

migrating if {
	some pattern in input.parameters.namespaces
	glob.match(pattern, null, input.sync.object.namespace)
}
