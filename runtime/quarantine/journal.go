package quarantine

import (
	"context"
	"fmt"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// Journal keeps a line of what was done, in the order in which it was.
type Journal interface {
	Quarantined(ctx context.Context, t Transition)
}

// Transition is one thing that was done: a phase that was entered (Step "phase"), or a step that has ended.
type Transition struct {
	Quarantine string
	Pod        string // "namespace/name (UID)"
	Step       string
	// From and To are phases, or "" and the state of the step.
	From, To string
	Reason   string // redacted
}

// waitingLines is how many lines may wait for the journal: those of some hundred quarantines. Containment waits for none.
const waitingLines = 4096

// record has a line written. What finds no place is in the log.
func (c *Controller) record(q *v1alpha1.Quarantine, step, from, to, reason string) {
	if c.o.Journal == nil {
		return
	}
	t := Transition{
		Quarantine: q.Name, Pod: fmt.Sprintf("%s/%s (%s)", q.Spec.Pod.Namespace, q.Spec.Pod.Name, q.Spec.Pod.UID),
		Step: step, From: from, To: to, Reason: redacted(reason),
	}
	select {
	case c.lines <- t:
	default:
		c.log.Error("the journal does not keep up: a line is lost", "quarantine", t.Quarantine, "step", step, "to", to, "reason", t.Reason)
	}
}

// keepJournal writes lines until the context ends, and then those that wait.
func (c *Controller) keepJournal(ctx context.Context) {
	for {
		select {
		case t := <-c.lines:
			c.o.Journal.Quarantined(context.WithoutCancel(ctx), t)
		case <-ctx.Done():
			c.drainJournal(context.WithoutCancel(ctx))
			return
		}
	}
}

func (c *Controller) drainJournal(ctx context.Context) {
	for {
		select {
		case t := <-c.lines:
			c.o.Journal.Quarantined(ctx, t)
		default:
			return
		}
	}
}
