package main

import (
	"context"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/policies/tracing"
)

// journalClose is how long the journal may take when the program ends.
const journalClose = 2 * time.Second

// recorder writes decisions about syncs into a journal, nil for none.
func recorder(to *journal.Journal) func(context.Context, admission.Request, admission.Verdict) {
	if to == nil {
		return nil
	}
	return func(ctx context.Context, request admission.Request, verdict admission.Verdict) {
		// A decision that was made is kept, even if what it was made for is broken off.
		to.Record(context.WithoutCancel(ctx), &admission.Decision{Trace: tracing.TraceID(ctx), Time: time.Now(), Request: request, Verdict: verdict})
	}
}
