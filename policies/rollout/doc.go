// Package rollout decides which revision of a bundle judges, and where one on trial does. It is pure: what is wanted, what is, and
// what was observed go in, what is to be comes out. The controller calls [Next] and writes the result into the status of a
// PolicyBundle; each replica of the webhook reads it there and asks [Enforced], so that all agree.
//
// What always holds, and is tested by random sequences of events:
//
//   - once a revision is active there is always one;
//   - only what was verified, loaded and tested is on trial or active;
//   - a serial never decreases, but by a pin, or by a switch back that names the digest;
//   - each change of what is active is a transition.
package rollout
