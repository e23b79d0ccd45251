# METADATA
# title: Deletion of webhook configurations
# description: |
#   Nobody may take a webhook away. Kubernetes asks only webhooks that are configured by
#   files on the API server's host (KEP-5793).
# custom:
#   severity: critical
#   match:
#     resources: [{group: admissionregistration.k8s.io, resources: [validatingwebhookconfigurations]}]
#     operations: [DELETE]
#   doors: [admission]
#   remediation: Leave the configuration in place.
#   fix: none
#   fixReason: it is the deletion that is refused.
package portcullis.e2e.admission_configuration

deny contains finding if {
	input.request.operation == "DELETE"
	finding := {"msg": "webhook configurations stay"}
}
