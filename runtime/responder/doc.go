// Package responder takes runtime events to what is done about them: it finds the pod, asks the policies, plans, and writes
// the plan down as a Quarantine. What carries a Quarantine out is package quarantine.
//
// An event is done with when its Quarantine is written, or when it is known that there is nothing to write. Until then
// it stays with its [Source], and comes again after a crash; so all of it is idempotent: a Quarantine has the name of its pod, and
// an event that is judged twice asks for the same.
//
// Events of one pod are judged in the order in which they came, events of different pods at the same time. An event whose pod is
// not known yet is tried again for five seconds, then reported, and never acted on.
package responder
