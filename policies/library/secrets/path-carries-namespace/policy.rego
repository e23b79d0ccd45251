# METADATA
# title: Places of other namespaces
# description: |
#   Denies reading and writing what does not carry the name of the namespace, whoever permits it: a rule that permits more than it should, in this
#   bundle or another one, opens nothing to other namespaces as long as this stands beside it. The name is a whole segment at a known position.
# related_resources:
#   - https://github.com/external-secrets/external-secrets/security/advisories/GHSA-77v3-r3jw-j2v2
#   - https://github.com/hashicorp/vault-secrets-operator/issues/652
# custom:
#   severity: critical
#   match:
#     syncs: {}
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
package portcullis.secrets.path_carries_namespace

import data.portcullis.lib.vault

deny contains finding if {
	not vault.own(input.parameters.places)
	not readable
	finding := {
		"msg": sprintf("%s (%s) does not carry the name of the namespace %s where it has to", [vault.text, input.sync.vault.engine, input.sync.object.namespace]),
		"path": place,
		"details": {"mount": input.sync.vault.mount, "path": input.sync.vault.path, "engine": input.sync.vault.engine},
	}
}

# What is shared is read by all and written by nobody.
readable if {
	input.request.operation == "SYNC"
	vault.shared(input.parameters.shared)
}

place := "spec.source" if input.request.operation == "SYNC"

place := "spec.destination" if input.request.operation == "PUSH"
