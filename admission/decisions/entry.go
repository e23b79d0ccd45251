package decisions

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/policies/redaction"
)

// Limits of an entry. A denial says at most 8 KiB to the caller; here a line of each reason is enough.
const (
	MaxReasons = 20
	maxText    = 512 // bytes of one message
	maxName    = 253 // bytes of one name: those of Kubernetes are not longer
)

// redactor replaces what looks like a credential in messages.
var redactor = &redaction.Redactor{}

// Entry is one decision. As JSON it is one line.
type Entry struct {
	// Sequence counts the decisions of this process from 1: "after" goes on behind one.
	Sequence uint64 `json:"sequence"`
	// Process tells the processes apart that the sequences are of.
	Process string    `json:"process,omitempty"`
	Time    time.Time `json:"time"`
	// ID is that of the decision in the journal and in the API server's audit log, Trace the W3C trace id.
	ID    string `json:"id"`
	Trace string `json:"trace,omitempty"`

	Operation   string `json:"operation,omitempty"`
	Group       string `json:"group,omitempty"`
	Resource    string `json:"resource,omitempty"`
	SubResource string `json:"subResource,omitempty"`
	Kind        string `json:"kind,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Name        string `json:"name,omitempty"`
	DryRun      bool   `json:"dryRun,omitempty"`
	// User is the name of who asked, or "user-" and a keyed hash of it.
	User string `json:"user,omitempty"`

	// Door is validate or mutate, Verdict admitted, denied, fault, unmatched, shed or rejected.
	Door    string `json:"door"`
	Verdict string `json:"verdict"`
	// Reasons are what policies said, those that deny first; More counts those that are left out.
	Reasons []Reason `json:"reasons,omitempty"`
	More    int      `json:"more,omitempty"`
	// Bundle is the revision that judged, with its profile.
	Bundle  string `json:"bundle,omitempty"`
	Profile string `json:"profile,omitempty"`
	// Microseconds is how long the answer took.
	Microseconds int64 `json:"microseconds"`
}

// Reason is what one policy said.
type Reason struct {
	// Effect is deny, warn, audit, excepted, fault or undecided.
	Effect   string `json:"effect"`
	Policy   string `json:"policy,omitempty"`
	Severity string `json:"severity,omitempty"`
	Message  string `json:"message"`
}

// Notice is a line that is no decision: its only field tells it apart.
type Notice struct {
	Notice string `json:"notice"`
}

// shown is an entry as a reader sees it: bounded, without credentials, and with names of users only where they may be seen.
func (e Entry) shown(user string) Entry {
	e.User = user
	for _, text := range []*string{&e.ID, &e.Trace, &e.Operation, &e.Group, &e.Resource, &e.SubResource, &e.Kind, &e.Namespace, &e.Name, &e.User, &e.Profile} {
		*text = cut(*text, maxName)
	}
	e.Bundle = cut(e.Bundle, maxText)
	if extra := len(e.Reasons) - MaxReasons; extra > 0 {
		e.Reasons, e.More = e.Reasons[:MaxReasons], e.More+extra
	}
	reasons := make([]Reason, len(e.Reasons))
	for n, reason := range e.Reasons {
		reason.Policy = cut(reason.Policy, maxName)
		reason.Message = cut(redactor.Text(cut(reason.Message, 4*maxText)), maxText)
		reasons[n] = reason
	}
	e.Reasons = reasons
	return e
}

// cut bounds a text, and replaces what is no UTF-8.
func cut(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	const ellipsis = "…"
	end := limit - len(ellipsis)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}
