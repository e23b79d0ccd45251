// Package evidence keeps what is known of a pod before it is gone: the pod, what stands above it, its namespace, events, the network policies that
// selected it, what Falco saw, and the logs of its containers.
//
// A piece is one QuarantineEvidence, whose name follows from what it is of: captured twice it is kept once, and it is never changed. It belongs to its
// Quarantine and is deleted with it. Objects come first and have two seconds, since containment goes on beside; logs come after them.
//
// Pieces are redacted ([redaction]) and bounded, and the value of no Secret is read. A piece that could not be had is named in
// the error; the others are kept.
package evidence
