// Package audit judges objects that exist already, by the same Reviewer that judges requests for them.
//
// An object is judged as the request that would create it today, at the door "audit": a policy that came after the object
// finds it, an exception that has ended waives nothing any more, and a policy about deletions or about who asks says
// nothing, since nobody asks. What the API server would answer and what the audit says cannot differ: it is one evaluation.
//
// An [Auditor] streams: it reads objects from a [Source], judges as many at a time as there are processors, and gives one
// [Result] each to a [Handler], in the order of the source. [Posture] adds results up, exactly, and keeps a bounded number
// of examples. [Ledger] keeps what was found of the objects of a cluster, so that single objects can be judged again.
//
// What could not be looked at is a [Gap], with its reason. An audit that is not complete never looks like a clean one.
package audit
