# METADATA
# title: Addresses of load balancers
# description: |
#   Whoever may update the status of a Service can write any address into loadBalancer.ingress, and every
#   node then sends what its pods address there to the Service: the second half of CVE-2020-8554, with the same
#   effect as externalIPs. The address is for the cluster's load balancer controller to write. Only
#   the listed users and groups may add one; what is there already may stay.
# related_resources:
#   - https://github.com/kubernetes/kubernetes/issues/97076
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [services/status]}]
#     operations: [UPDATE]
#   doors: [admission]
#   remediation: Leave the status of Services to your load balancer's controller, and add its user or the group of its service accounts to the policy's parameters.
#   fix: none
#   fixReason: it is the user who may not; there is no manifest.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       allowedUsers:
#         description: Users who may set addresses. A service account is system:serviceaccount:NAMESPACE:NAME.
#         type: array
#         items: {type: string}
#         default: [system:cloud-controller-manager, system:kube-controller-manager]
#       allowedGroups:
#         description: Groups whose members may set addresses. The service accounts of a namespace are in system:serviceaccounts:NAMESPACE.
#         type: array
#         items: {type: string}
#         default: [system:masters, "system:serviceaccounts:kube-system", "system:serviceaccounts:metallb-system"]
package portcullis.network.load_balancer_status

deny contains finding if {
	some i, ingress in input.object.status.loadBalancer.ingress
	address := ingress.ip
	not address in before
	not permitted
	finding := {
		"msg": sprintf("%q may not have the Service take the traffic to %s", [input.subject.username, address]),
		"path": sprintf("status.loadBalancer.ingress[%d].ip", [i]),
	}
}

before := {ingress.ip | some ingress in input.oldObject.status.loadBalancer.ingress}

permitted if input.subject.username in input.parameters.allowedUsers

permitted if {
	some group in input.subject.groups
	group in input.parameters.allowedGroups
}
