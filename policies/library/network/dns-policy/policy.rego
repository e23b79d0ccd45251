# METADATA
# title: Pods that go past the cluster's DNS
# description: |
#   With dnsPolicy Default a pod asks the resolvers of its node, with None any it names: past the
#   cluster's DNS, its filters and its log. Malware uses just that to find its masters and to carry
#   data out in queries, and a foreign resolver can answer for the names of Services. Some agents of
#   the node, the cluster's own DNS among them, need Default.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: Remove dnsPolicy from the pod template, or set it to an allowed one.
#   controls:
#     nsa: [network-separation/network-policies]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: DNS policies that pods may use. The first is that of the fix.
#         type: array
#         minItems: 1
#         items: {enum: [ClusterFirst, ClusterFirstWithHostNet, Default, None]}
#         default: [ClusterFirst, ClusterFirstWithHostNet]
package portcullis.network.dns_policy

deny contains finding if {
	not input.workload.dnsPolicy in input.parameters.allowed
	path := concat("", [input.workload.path, ".dnsPolicy"])
	finding := {
		"msg": sprintf("the pod uses dnsPolicy %s", [input.workload.dnsPolicy]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": input.parameters.allowed[0]}],
	}
}
