# METADATA
# title: Secrets of one's own
# description: |
#   Permits a namespace to read what carries its name: a whole segment of the path, at a position that is known beforehand. A name that
#   only begins alike is another namespace's (team-a and team-a-evil). Names of roles and keys, which have no slashes, may go on after a
#   dot or an underscore, which no name of a namespace has: creds/team-a.readonly.
#
#   Without a policy that permits nothing is synced. What is permitted here can still be denied by others.
# related_resources:
#   - https://developer.hashicorp.com/vault/docs/concepts/policies
# custom:
#   severity: high
#   match:
#     syncs:
#       operations: [SYNC]
#   remediation: >-
#     Keep the secret below the name of your namespace (secret/NAMESPACE/…, database/creds/NAMESPACE), or have the place added to the policy's parameter
#     places or shared.
#   controls:
#     nist-800-190: ["4.1.4", "4.3.1"]
#     owasp-k8s: [K03, K08]
#     mitre: [T1552]
#   parameters:
#     type: object
#     properties:
#       places:
#         description: |
#           Where the namespace stands: engines, mounts (exact names; "{namespace}" in one stands for the name of the namespace, and then nothing in
#           the path need carry it), and the position of the segment of the path that is the namespace, from 0.
#         type: array
#         items:
#           type: object
#           required: [engines, mounts, position]
#           additionalProperties: false
#           properties:
#             engines: {type: array, minItems: 1, items: {enum: [kv-v1, kv-v2, dynamic, pki, transit, approle]}}
#             mounts: {type: array, minItems: 1, items: {type: string, minLength: 1}}
#             position: {type: integer, minimum: 0}
#         default:
#           - {engines: [kv-v1, kv-v2], mounts: [secret, kv], position: 0}
#           - {engines: [dynamic], mounts: [database], position: 1} # creds/NAMESPACE
#           - {engines: [pki], mounts: [pki, pki_int], position: 0}
#           - {engines: [transit], mounts: [transit], position: 0}
#           - {engines: [approle], mounts: [auth/approle], position: 0}
#       shared:
#         description: |
#           Patterns of places that every namespace may read, with the mount: secret/shared/*. "*" is one segment, "**" any number.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
package portcullis.secrets.permit_own_path

import data.portcullis.lib.vault

allow_sync contains msg if {
	vault.own(input.parameters.places)
	msg := sprintf("%s carries the name of the namespace", [vault.text])
}

allow_sync contains msg if {
	vault.shared(input.parameters.shared)
	msg := sprintf("%s is shared by all namespaces", [vault.text])
}
