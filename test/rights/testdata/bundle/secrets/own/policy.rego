# METADATA
# title: Secrets of the shop
# description: The shop gets what it asks for.
# custom:
#   severity: high
#   match: {syncs: {}}
#   remediation: Ask in the namespace shop.
package portcullis.secrets.own

allow_sync contains "it is the shop" if input.sync.object.namespace == "shop"
