package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/policies/tracing"
)

// journalClose is how long the journal may take when the program ends.
const journalClose = 2 * time.Second

// journalFlags say what is kept of decisions.
type journalFlags struct {
	dir, keyFile string
	allows       float64
	maxBytes     int64
}

func (f *journalFlags) register(set *pflag.FlagSet) {
	set.StringVar(&f.dir, "journal", "", "`folder` for the journal of all decisions; by default there is none")
	set.Float64Var(&f.allows, "journal-allows", 1, "`share` from 0 to 1 of syncs kept that were plainly permitted; all others always are")
	set.Int64Var(&f.maxBytes, "journal-max-bytes", journal.DefaultMaxTotal, "`bytes` of lines and facts before the oldest go")
	set.StringVar(&f.keyFile, "journal-key", "", "`file` with the key of the hashes that replace secrets; made if need be, in the journal's folder by default")
}

func (f *journalFlags) check() error {
	switch {
	case f.dir == "" && f.keyFile != "":
		return usage.Errorf("there is no journal to configure: give --journal")
	case !(f.allows >= 0 && f.allows <= 1):
		return usage.Errorf("--journal-allows is %v: give a share from 0 to 1", f.allows)
	case f.maxBytes <= 0:
		return usage.Errorf("--journal-max-bytes is %d: give a number above 0", f.maxBytes)
	}
	return nil
}

// open opens the journal, nil for none.
func (f *journalFlags) open(writer string, log *slog.Logger) (*journal.Journal, error) {
	if f.dir == "" {
		return nil, nil
	}
	opened, err := journal.Open(journal.Options{Dir: f.dir, Writer: writer, MaxTotal: f.maxBytes, Allows: f.allows, KeyFile: f.keyFile, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("%w: correct --journal", err)
	}
	return opened, nil
}

// closeJournal writes what is left.
func closeJournal(ctx context.Context, opened *journal.Journal, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalClose)
	defer cancel()
	if err := opened.Close(ctx); err != nil {
		log.Error("closing the journal failed", "error", err)
	}
}

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
