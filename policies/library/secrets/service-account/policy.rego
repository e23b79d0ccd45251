# METADATA
# title: Who asks Vault
# description: |
#   Vault knows a namespace by the service account whose token is shown and the role that is asked for. The account default is every pod's that names
#   none, so whoever runs one could log in as it. A role that carries the name of the namespace is one that was made for it: a role for all, bound to any namespace,
#   reads for one what it reads for the others.
#
#   Names of roles may go on after a dot or an underscore (team-a.web), which no name of a namespace has. Roles whose policies in Vault are templated by the namespace of the service
#   account can be shared safely: name them in the parameter sharedRoles. AppRole and certificates have credentials of their own, which lie in the namespace.
# related_resources:
#   - https://github.com/hashicorp/vault-secrets-operator/issues/652
#   - https://developer.hashicorp.com/vault/docs/auth/kubernetes
# custom:
#   severity: high
#   match:
#     syncs: {}
#   remediation: >-
#     Make a service account for the purpose and a role of Vault that is named after the namespace and bound to both, and name them in the VaultAuth.
#   controls:
#     nsa: [authentication/service-accounts]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: [K03, K06, K08]
#   parameters:
#     type: object
#     properties:
#       accounts:
#         description: Service accounts that may not ask.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [default]
#       sharedRoles:
#         description: Roles of Vault that all namespaces may ask for.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
package portcullis.secrets.service_account

import data.portcullis.lib.vault

deny contains finding if {
	input.sync.auth.serviceAccount in input.parameters.accounts
	finding := {"msg": sprintf("the service account %q asks Vault", [input.sync.auth.serviceAccount]), "path": "spec.auth"}
}

deny contains finding if {
	input.sync.auth.method in ["kubernetes", "jwt"]
	not own_role
	not own_mount
	not input.sync.auth.role in input.parameters.sharedRoles
	finding := {
		"msg": sprintf("neither the role %q nor the mount %q that the VaultAuth %s names carries the name of the namespace %s", [
			input.sync.auth.role, input.sync.auth.mount, input.sync.auth.name, input.sync.object.namespace,
		]),
		"path": "spec.auth",
	}
}

own_role if input.sync.auth.role == input.sync.object.namespace

own_role if vault.belongs(input.sync.auth.role, input.sync.object.namespace)

own_mount if {
	some segment in split(input.sync.auth.mount, "/")
	segment == input.sync.object.namespace
}
