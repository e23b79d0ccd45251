# METADATA
# title: Service account tokens
# description: |
#   Unless the pod says otherwise each container gets a token for the Kubernetes API. Most programs
#   never use it; whoever breaks into them does. A pod that needs the API can mount a projected
#   token with an audience and an expiry of its own instead.
# related_resources:
#   - https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#opt-out-of-api-credential-automounting
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Set automountServiceAccountToken to false in the pod; mount a projected token where the program calls the API.
#   controls:
#     nsa: [pod-security/protecting-service-account-tokens]
#     cis: ["5.1.6"]
#     owasp-k8s: [K01]
#   parameters:
#     type: object
#     properties:
#       allowedServiceAccounts:
#         description: Service accounts whose token may be mounted by default, as globs of namespace/name (kube-system/*).
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
package portcullis.pods.token_automount

deny contains finding if {
	not input.workload.automountServiceAccountToken == false
	not allowed
	path := concat("", [input.workload.path, ".automountServiceAccountToken"])
	finding := {
		"msg": sprintf("the token of service account %q is mounted into every container", [input.workload.serviceAccount]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": false}],
	}
}

allowed if {
	some pattern in input.parameters.allowedServiceAccounts
	glob.match(pattern, null, concat("/", [input.request.namespace, input.workload.serviceAccount]))
}
