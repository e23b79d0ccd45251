// Package journal keeps every decision of a webhook as one line of JSON, and the facts that it was made with beside it:
// enough to judge the same request again with other policies.
//
// A journal is a folder:
//
//	decisions-000000000001.jsonl   lines, oldest first; the last file is being written
//	decisions-000000000001.facts   the facts that a finished file names, one digest a line
//	facts/sha256/ab/cdef….zst      facts, by the digest of their JSON
//	key                            the key of the hash that replaces secrets, unless it lies elsewhere
//	lock                           held by the process that writes
//
// Each line has a number, and the hash of the line before it, across files and restarts. [Verify] walks this chain: a
// line that was changed, left out or put in breaks it. That lines are missing at the end it cannot know; who must
// know sends a copy elsewhere, by a [Sink].
//
// [Journal.Record] returns when the kernel has the line, and its facts before it: a process that is killed loses no
// decision that was answered. A machine that loses power loses what was not synchronised yet, [Options.Flush] at most.
//
// What is secret never reaches the folder. Data of Secrets and variables that look like credentials are replaced by a
// keyed hash ([redactor]), and the line names what was replaced, so that a replay leaves undecided what it
// cannot know.
package journal
