// Package decisions shows what a webhook has decided of late, to whoever may see it: a bounded ring in memory, read over HTTP as JSON lines and
// followed live. It is for people who watch; what must not be lost is in policies/journal.
//
// An [Entry] names an object and says what policies objected to. It holds nothing of the object, and what looks like a credential in a message is
// replaced before anybody reads it.
//
// Who reads shows a bearer token of the cluster. The API server says whose it is (TokenReview), and whether they may "get" the virtual resource
// "decisions" of the group policy.portcullis.dev in the namespace of each decision (SubjectAccessReview); for an object without a namespace, in all.
// Names of users are for those who may also get "decisions/users" there; others see a keyed hash, by which they can tell users apart.
//
// Recording takes a lock for some dozens of nanoseconds and waits for no reader: one that is too slow is told how many decisions it has missed.
package decisions
