package responder

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// recordedAs are outcomes as decisions have them ([admission.Decision]).
var recordedAs = map[outcome]string{
	outcomeProposed: "responded", outcomeRepeated: "responded", outcomeTold: "responded",
	outcomeIgnored: "ignored", outcomeUnmatched: "unmatched",
	outcomeNoPod: "rejected", outcomeUnresolved: "rejected", outcomeWrongNode: "rejected", outcomeRefused: "rejected",
	outcomeFault: "fault",
}

// refuse reports an event that nothing is done about, and forgets it.
func (r *Responder) refuse(item Item, became outcome, why error) {
	defer item.Done()
	r.options.Metrics.count(became)
	e := item.Event
	if pass, before := r.refusals.pass(); pass {
		r.options.Logger.Warn("nothing is done about an event", "event", e.ID, "rule", e.Rule, "priority", e.Priority.String(), "sender", e.Sender, "reason", why.Error(), "refused_before", before)
		r.record(context.Background(), &admission.Decision{
			ID: uuid.NewString(), Time: r.options.Now(), Outcome: recordedAs[became], Reason: why.Error(), Request: requestOf(e, nil),
		})
	}
	if e.Priority > response.Warning {
		return
	}
	if pass, before := r.alarms.pass(); pass {
		reason := why.Error()
		if before > 0 {
			reason = fmt.Sprintf("%s. %d more were refused before and not told", reason, before)
		}
		r.options.Notifier.Notify(notify.NewMessage(notify.Details{
			Kind: notify.KindUnresolved, Time: e.Time, Severity: severityOf(e.Priority), Rule: e.Rule, Priority: e.Priority.String(), Output: e.Output,
			Reason: reason, Next: "look for the pod by hand: no response is taken",
		}))
	}
}

// tell tells people of a plan about the node itself, about which the API can do nothing.
func (r *Responder) tell(plan *response.Plan) {
	e := &plan.Event
	details := notify.Details{
		Kind: notify.KindTold, Time: e.Time, Severity: severityOf(e.Priority), Rule: e.Rule, Priority: e.Priority.String(), Output: e.Output,
		Reason: fmt.Sprintf("a process of the node %s that is in no container", nodeOf(e)), Next: "look at the node: what runs outside pods is not quarantined",
	}
	for _, planned := range plan.Actions {
		details.Policies = append(details.Policies, planned.Policy)
		details.Actions = append(details.Actions, string(planned.Action))
		if planned.Action == response.Notify {
			details.Reason += ": " + planned.Message
		}
	}
	r.options.Notifier.Notify(notify.NewMessage(details))
}

// nodeOf is the node that the sender is, or says that it is.
func nodeOf(e *response.Event) string {
	if e.Sender != "" {
		return e.Sender
	}
	return e.Hostname
}

// severityOf is what a priority is to people.
func severityOf(p response.Priority) notify.Severity {
	switch {
	case p <= response.Critical:
		return notify.Critical
	case p == response.Error:
		return notify.High
	case p == response.Warning:
		return notify.Medium
	}
	return notify.Low
}

// record hands a decision to the recorder. One that panics loses it, and nothing else.
func (r *Responder) record(ctx context.Context, decision *admission.Decision) {
	if r.options.Recorder == nil {
		return
	}
	defer func() {
		if cause := recover(); cause != nil {
			r.options.Logger.Error("the recorder panicked: a decision is not kept", "decision", decision.ID, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
		}
	}()
	r.options.Recorder.Record(ctx, decision)
}

// throttle lets some of what happens pass within a time, and counts the rest.
type throttle struct {
	now   func() time.Time
	every time.Duration
	most  int

	mu      sync.Mutex
	since   time.Time
	passed  int
	leftOut int64
}

// pass says whether this one may, and how many were left out since the last one that could.
func (t *throttle) pass() (ok bool, leftOut int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.now(); now.Sub(t.since) >= t.every {
		t.since, t.passed = now, 0
	}
	if t.passed >= t.most {
		t.leftOut++
		return false, 0
	}
	t.passed++
	leftOut, t.leftOut = t.leftOut, 0
	return true, leftOut
}
