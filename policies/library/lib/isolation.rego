# METADATA
# title: Isolation
# description: |
#   Which directions of traffic the NetworkPolicies of the request's namespace deny to all of its
#   pods unless a rule allows it.
package portcullis.lib.isolation

import data.portcullis.lib.peers

denied(direction) if {
	some policy in input.cluster
	policy.resource == "networkpolicies"
	policy.group == "networking.k8s.io"
	policy.namespace == input.request.namespace
	isolates(policy.object.spec, direction)
}

# isolates says that the policy is about all pods and this direction, and that no rule of
# it opens the direction to everybody again.
isolates(spec, direction) if {
	not peers.narrows(spec, "podSelector")
	concerns(spec, direction)
	not opens(spec, direction)
}

concerns(spec, direction) if direction in spec.policyTypes

# Without policyTypes a policy is about ingress, and about egress if it has rules for it.
concerns(spec, "Ingress") if not spec.policyTypes[0]

concerns(spec, "Egress") if {
	not spec.policyTypes[0]
	spec.egress[0]
}

opens(spec, "Ingress") if {
	some rule in spec.ingress
	not rule.from[0]
}

opens(spec, "Egress") if {
	some rule in spec.egress
	not rule.to[0]
}
