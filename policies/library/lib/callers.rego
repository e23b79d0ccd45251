# Who asks, for policies that let some.
package portcullis.lib.callers

# permitted says whether the request is by one of some users, of some groups or by some service accounts, those as
# namespace/name.
permitted(users, _, _) if input.subject.username in users

permitted(_, groups, _) if {
	some group in input.subject.groups
	group in groups
}

permitted(_, _, accounts) if account in accounts

# account is the service account that asks.
account := concat("/", [input.subject.serviceAccount.namespace, input.subject.serviceAccount.name])

# pods are the UIDs of the pod whose token asks: one, or none (KEP-1205).
pods := {uid |
	some extra in input.subject.extra
	extra.key == "authentication.kubernetes.io/pod-uid"
	some uid in extra.values
}
