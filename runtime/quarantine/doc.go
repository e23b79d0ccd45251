// Package quarantine keeps Quarantine objects: it writes them down ([Store]), and takes them from step to step ([Controller]).
//
// A Quarantine is written before anything is done, under a name that follows from the pod's UID, so that replicas need not
// know each other. One of them holds a Lease and acts. Before each step it notes what it is about to do and what was there
// before; afterwards what came of it. A controller that dies anywhere is followed by one that goes on from there, and since steps
// are idempotent nothing is done twice.
package quarantine
