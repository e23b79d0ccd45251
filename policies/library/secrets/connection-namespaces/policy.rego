# METADATA
# title: Vaults for all namespaces
# description: |
#   A VaultConnection lists the namespaces that may use it. "*" lets every namespace that will ever be made show its service accounts to that Vault, and leaves the whole of the isolation
#   to the roles of Vault and the policies of this bundle. Listing namespaces, or globs that begin with a name, is one more wall.
# custom:
#   severity: medium
#   match:
#     resources:
#       - group: secrets.portcullis.dev
#         resources: [vaultconnections]
#   remediation: >-
#     List the namespaces that use this Vault, or globs that begin with a name that only administrators can give (team-a-*).
#   controls:
#     nist-800-190: ["4.3.1", "4.3.3"]
#     owasp-k8s: [K03, K08]
#   fix: none
#   fixReason: Which namespaces use a Vault is not in its VaultConnection.
package portcullis.secrets.connection_namespaces

# A glob that begins with a wildcard is for names that anybody could think of.
deny contains finding if {
	some n, pattern in input.object.spec.allowedNamespaces
	regex.match(`^[*?]`, pattern)
	finding := {
		"msg": sprintf("%q lets namespaces use this Vault that nobody has thought of", [pattern]),
		"path": sprintf("spec.allowedNamespaces[%d]", [n]),
	}
}
