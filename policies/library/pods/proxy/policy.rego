# METADATA
# title: API server proxy
# description: |
#   The API server's proxy carries requests to pods, services and nodes past every network policy, from
#   the control plane's own address. Through a node it reaches the kubelet, which runs commands in any
#   container of that node. Only the listed groups may use it. With an empty list nobody may.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/rbac-good-practices/#access-to-proxy-subresource-of-nodes
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [pods/proxy, services/proxy, nodes/proxy]}]
#     operations: [CONNECT]
#   doors: [admission]
#   remediation: Ask one of the groups of the policy's parameter groups, or have your group added.
#   fix: none
#   fixReason: it is the user who may not; there is no manifest.
#   controls:
#     cis: ["5.1.10"]
#     nist-800-190: ["4.3.2"]
#     owasp-k8s: [K03]
#   parameters:
#     type: object
#     properties:
#       groups:
#         description: Groups whose members may use the proxy.
#         type: array
#         items: {type: string}
#         default: [system:masters, kubeadm:cluster-admins]
package portcullis.pods.proxy

deny contains finding if {
	not permitted
	finding := {"msg": sprintf("%q is in no group that may use %s/proxy", [input.subject.username, input.request.resource.resource])}
}

permitted if {
	some group in input.subject.groups
	group in input.parameters.groups
}
