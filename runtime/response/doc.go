// Package response says what a runtime event is, what may be done about one, and within which bounds. It is pure: it knows
// neither Falco nor a cluster.
//
// An [Event] was seen on a node. Policies judge it together with the pod that it is about and ask for actions
// ([Action]). [NewPlan] makes one [Plan] of what they ask for: in the order that keeps evidence and contains
// first, as the pod's owner and kind allow, under the [Settings] of the bundle. Whoever carries it out writes it down
// first, as a Quarantine, and counts it by a [Ledger]: limits, the cooldown of owners, and the circuit breaker.
package response
