package admission

import "time"

// Decision is one request that was answered, and all that its answer follows from: what a journal keeps.
type Decision struct {
	// ID is unique among the decisions of a process and, but for chance, of all. Trace is the W3C trace id of the
	// request, 32 hexadecimal digits, "" for none.
	ID, Trace string
	// Time is when the request came in, Duration how long the answer took.
	Time     time.Time
	Duration time.Duration
	// Mutation says that patches were asked for.
	Mutation bool
	// Outcome is "admitted", "denied", "fault", "unmatched", "shed" or "rejected"; of an event "responded" where some action was
	// asked for, "ignored" where none was, or "fault".
	Outcome string
	// Reason is why a request was answered that no judge was asked about: shed, rejected.
	Reason  string
	Request Request
	Verdict Verdict
}
