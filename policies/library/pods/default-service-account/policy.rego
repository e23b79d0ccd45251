# METADATA
# title: Default service account
# description: |
#   All pods of a namespace that name no service account share `default`. A right granted to it for
#   one of them is a right of all of them, and the audit log cannot tell them apart. A pod that gets
#   no token at all (automount off and none projected) may use it.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/service-accounts/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Create a service account for the workload and name it in serviceAccountName, or set automountServiceAccountToken to false.
#   controls:
#     nsa: [pod-security/protecting-service-account-tokens]
#     cis: ["5.1.5"]
#     owasp-k8s: [K03]
package portcullis.pods.default_service_account

deny contains finding if {
	input.workload.serviceAccount == "default"
	not input.workload.automountServiceAccountToken == false
}

deny contains finding if {
	input.workload.serviceAccount == "default"
	some volume in input.workload.volumes
	some source in volume.sources
	source.type == "serviceAccountToken"
}

finding := {
	"msg": "the pod gets a token of the namespace's default service account",
	"path": path,
	"fix": [{"op": "set", "path": path, "value": "dedicated-service-account"}],
} if {
	path := concat("", [input.workload.path, ".serviceAccountName"])
}
