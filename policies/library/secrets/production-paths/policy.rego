# METADATA
# title: Production secrets outside production
# description: |
#   What a mount, a path or a namespace of Vault calls production is read and written from production namespaces only. A namespace is one by its name, or by a
#   label that only administrators can set.
#
#   Labels that whoever may edit a namespace can set prove nothing. The default label is among those that namespaces/protected-labels guards
#   (policy.portcullis.dev/*), which is in every profile of the library; choose another one only if something guards it as well. Names are
#   guarded by who may create namespaces.
# custom:
#   severity: high
#   match:
#     syncs: {}
#   remediation: >-
#     Use the secret of your own environment, or have the namespace added to the policy's parameter namespaces or labelled by an administrator.
#   controls:
#     nist-800-190: ["4.1.4", "4.3.3"]
#     owasp-k8s: [K03, K08]
#   parameters:
#     type: object
#     properties:
#       production:
#         description: Globs of whole segments that say production; * is any run of characters.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [prod, production, "prod-*", "production-*", "*-prod", "*-production"]
#       namespaces:
#         description: Globs of names of namespaces that are production.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [prod, production, "prod-*", "production-*", "*-prod", "*-production"]
#       label:
#         description: The label that says so of a namespace; only administrators may be able to set it.
#         type: string
#         default: policy.portcullis.dev/environment
#       values:
#         description: Its values that do.
#         type: array
#         items: {type: string}
#         default: [prod, production]
package portcullis.secrets.production_paths

deny contains finding if {
	some segment in segments
	some pattern in input.parameters.production
	glob.match(pattern, null, segment)
	not named
	not labelled
	finding := {
		"msg": sprintf("%q in %s/%s is production, and the namespace %s is not", [segment, input.sync.vault.mount, input.sync.vault.path, input.sync.object.namespace]),
		"path": place,
		"details": {"segment": segment},
	}
}

segments := {segment |
	some text in [input.sync.vault.path, input.sync.vault.mount, input.sync.connection.vaultNamespace]
	some segment in split(text, "/")
}

named if {
	some pattern in input.parameters.namespaces
	glob.match(pattern, null, input.sync.object.namespace)
}

labelled if input.namespace.labels[input.parameters.label] in input.parameters.values

place := "spec.source" if input.request.operation == "SYNC"

place := "spec.destination" if input.request.operation == "PUSH"
