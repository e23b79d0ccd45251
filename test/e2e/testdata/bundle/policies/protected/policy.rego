# METADATA
# title: Protected objects
# description: Namespaces and config maps with the label example.com/protected stay.
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [namespaces, configmaps]}]
#     operations: [DELETE]
#   doors: [admission]
#   remediation: Remove the label first.
#   fix: none
#   fixReason: it is the deletion that is refused.
package portcullis.e2e.protected

deny contains finding if {
	input.oldObject.metadata.labels["example.com/protected"] == "true"
	finding := {"msg": "it is protected"}
}
