package main

import (
	"context"
	"time"

	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/runtime/quarantine"
)

// journalClose is how long the journal may take when the program ends.
const journalClose = 5 * time.Second

// transitions writes steps of quarantines into a journal.
type transitions struct{ to *journal.Journal }

// Quarantined implements [quarantine.Journal].
func (j transitions) Quarantined(ctx context.Context, t quarantine.Transition) {
	j.to.Transition(ctx, journal.Transition{Quarantine: t.Quarantine, Pod: t.Pod, From: t.From, To: t.To, Step: t.Step, Reason: t.Reason})
}
