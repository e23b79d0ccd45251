# METADATA
# title: Pushes to one's own path
# description: |
#   Permits a namespace to write to Vault where the path carries its name, as a whole segment at a known position. Nothing is shared here: what
#   everybody may write, everybody can replace for the others.
# related_resources:
#   - https://github.com/external-secrets/external-secrets/security/advisories/GHSA-fcxq-v2r3-cc8h
# custom:
#   severity: high
#   match:
#     syncs:
#       operations: [PUSH]
#   remediation: >-
#     Push below the name of your namespace (secret/NAMESPACE/…), or have the place added to the policy's parameter places.
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
package portcullis.secrets.push_own_path

import data.portcullis.lib.vault

allow_sync contains msg if {
	vault.own(input.parameters.places)
	msg := sprintf("%s carries the name of the namespace", [vault.text])
}
