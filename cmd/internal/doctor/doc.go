// Package doctor checks an installation of Portcullis in a cluster and says what to do, in plain words.
//
// A [Check] looks at one thing, with the rights of whoever runs it, and changes nothing. What it may not see it calls unknown, never fine: the
// zero state is unknown. [Run] lets all look at the same time, each within its own time, so that one that hangs holds up no other.
//
// One check is one file.
package doctor
