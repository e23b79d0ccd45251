# METADATA
# title: Changes in the namespace of the platform
# description: |
#   The namespace of the admission webhook cannot be held to all policies: its pods must start
#   while the webhook is down. That makes it the place to put a pod that no policy would
#   allow, and the place to stop the controls by deleting a deployment or its certificate. So
#   only the platform's own accounts, the cluster's controllers and the listed groups may
#   change anything there, or get into its pods.
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: ""
#         resources:
#           - pods
#           - pods/attach
#           - pods/ephemeralcontainers
#           - pods/eviction
#           - pods/exec
#           - pods/portforward
#           - pods/proxy
#           - pods/resize
#           - configmaps
#           - endpoints
#           - replicationcontrollers
#           - secrets
#           - serviceaccounts
#           - serviceaccounts/token
#           - services
#           - services/proxy
#       - group: apps
#         resources:
#           - daemonsets
#           - deployments
#           - deployments/scale
#           - replicasets
#           - replicasets/scale
#           - statefulsets
#           - statefulsets/scale
#       - group: batch
#         resources: [cronjobs, jobs]
#       - group: discovery.k8s.io
#         resources: [endpointslices]
#       - group: policy
#         resources: [poddisruptionbudgets]
#       - group: networking.k8s.io
#         resources: [ingresses, networkpolicies]
#       - group: rbac.authorization.k8s.io
#         resources: [rolebindings, roles]
#     operations: [CREATE, UPDATE, DELETE, CONNECT]
#   remediation: >-
#     Put the object into another namespace, or let one of the allowed users or groups make
#     the change.
#   controls:
#     nsa: ["network-separation/namespaces"]
#     cis: ["5.7.1"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K04"]
#   doors: [admission]
#   fix: none
#   fixReason: >-
#     The change is wrong because of who asks and where: the same manifest is fine in another
#     namespace or from somebody who may.
#   parameters:
#     type: object
#     properties:
#       namespaces:
#         description: The guarded namespaces.
#         type: array
#         items: {type: string}
#         default: [portcullis-system]
#       allowedUsers:
#         description: Users that may change what is in them; service accounts as system:serviceaccount:NAMESPACE:NAME.
#         type: array
#         items: {type: string}
#         default: ["system:kube-controller-manager", "system:kube-scheduler"]
#       allowedGroups:
#         description: Groups that may change what is in them.
#         type: array
#         items: {type: string}
#         default:
#           - system:masters
#           - kubeadm:cluster-admins
#           - system:nodes
#           - system:serviceaccounts:kube-system
#           - system:serviceaccounts:portcullis-system
package portcullis.namespaces.exempt_namespace_guard

deny contains finding if {
	input.request.namespace in input.parameters.namespaces
	not input.subject.username in input.parameters.allowedUsers
	not in_allowed_group
	finding := {"msg": sprintf("%q may not %s %s in the namespace %q", [
		input.subject.username,
		lower(input.request.operation),
		input.request.resource.resource,
		input.request.namespace,
	])}
}

in_allowed_group if {
	some group in input.subject.groups
	group in input.parameters.allowedGroups
}
