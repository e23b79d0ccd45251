// Package falco receives events of Falco: it authenticates the sender ([Receiver]), reads what it says ([Decode]), keeps it on disk before it
// answers, and hands it on until it is dealt with ([Queue]).
//
// Falco posts each alert once, on one connection, looks at no status and tries again only what was not answered in time (outputs_http.cpp).
// What is not taken here is lost. So an answer comes as soon as an event is in the log, and no sooner; what is shed is shed by priority,
// Critical and above never; and whatever is refused, shed or lost is counted by reason.
//
// Whoever can post events can have pods isolated. So a sender shows a certificate that says for which node it speaks, and [Message.From]
// notes it: an event about a pod of another node is refused by whoever resolves the pod.
//
// An event has one form and one identity by whatever way it came: from Falco, by falcosidekick, from the plugin k8saudit, or by gRPC from
// versions before 0.44 (package grpc below). What Falco says of itself is health: counted, never judged.
//
// Package spool is the log, package falcotest a Falco for tests. docs/falco.md is the operator's view.
package falco
