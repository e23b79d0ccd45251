// Package event tells of decisions at admission as Kubernetes Events (events.k8s.io/v1), where those look who wonder why an object does not appear: denials, requests
// that could not be judged, and warnings.
//
// Events are for people, and gone after an hour: the journal is the record. So nothing waits for them. Who decides hands over a note and goes on; one goroutine
// writes, within limits for each namespace and for all, and what repeats is counted in one Event. What does not fit is dropped and counted.
package event
