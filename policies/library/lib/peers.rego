# METADATA
# title: Peers of network policies
# description: |
#   Which selectors choose everything. Selecting by what an object is not
#   (NotIn, DoesNotExist) counts as a choice.
package portcullis.lib.peers

# every_pod says that a peer of a NetworkPolicy is all pods of all namespaces. Without a
# namespace selector it would be pods of the policy's own namespace.
every_pod(peer) if {
	peer.namespaceSelector
	not narrows(peer, "namespaceSelector")
	not narrows(peer, "podSelector")
}

# narrows says that the selector in a field leaves something out. An absent selector and
# one without terms leave out nothing.
narrows(holder, field) if some _ in holder[field].matchLabels

narrows(holder, field) if {
	some term in holder[field].matchExpressions
	not on_every_namespace(term)
}

# Kubernetes puts this label on each namespace.
on_every_namespace(term) if {
	term.key == "kubernetes.io/metadata.name"
	term.operator == "Exists"
}

# limited says that a rule of a NetworkPolicy names ports, and none but these.
limited(rule, ports) if {
	rule.ports[0]
	every entry in rule.ports {
		entry.port in ports
		not entry.endPort
	}
}
