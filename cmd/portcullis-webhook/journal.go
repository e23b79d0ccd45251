package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/shadow"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/spf13/pflag"
)

// journalClose is how long sinks may take for what they have when the webhook ends.
const journalClose = 5 * time.Second

// journalFlags say what is kept of decisions.
type journalFlags struct {
	dir, keyFile         string
	allows               float64
	unmatched            bool
	maxBytes             int64
	stdout               bool
	http, form           string
	tokenFile, authority string
	plain                bool
}

func (f *journalFlags) register(set *pflag.FlagSet) {
	set.StringVar(&f.dir, "journal", "", "`folder` for the journal of all decisions, written before each answer; by default there is none")
	set.Float64Var(&f.allows, "journal-allows", 1, "`share` from 0 to 1 of plain admissions that are kept; all others always are")
	set.BoolVar(&f.unmatched, "journal-unmatched", false, "keep requests, too, that no policy is about, by the same share")
	set.Int64Var(&f.maxBytes, "journal-max-bytes", journal.DefaultMaxTotal, "`bytes` of lines and facts before the oldest go")
	set.StringVar(&f.keyFile, "journal-key", "", "`file` with the key of the hashes that replace secrets; made if need be, in the journal's folder by default")
	set.BoolVar(&f.stdout, "journal-stdout", false, "write each line of the journal to standard output, too")
	set.StringVar(&f.http, "journal-http", "", "https `URL` that the lines are posted to as well")
	set.StringVar(&f.form, "journal-http-form", journal.FormNDJSON, "`form` of what is posted: "+journal.FormNDJSON+", "+journal.FormCloudEvents+" or "+journal.FormOTLP)
	set.StringVar(&f.tokenFile, "journal-http-token-file", "", "`file` with the bearer token for it")
	set.StringVar(&f.authority, "journal-http-ca", "", "PEM `file` of the authorities that it is verified with, instead of the system's")
	set.BoolVar(&f.plain, "journal-http-plain", false, "allow an http URL: the lines are open to whoever is on the way")
}

func (f *journalFlags) check() error {
	switch {
	case f.dir == "" && (f.stdout || f.http != "" || f.keyFile != "" || f.unmatched):
		return usagef("there is no journal to configure: give --journal")
	case !(f.allows >= 0 && f.allows <= 1):
		return usagef("--journal-allows is %v: give a share from 0 to 1", f.allows)
	case f.maxBytes <= 0:
		return usagef("--journal-max-bytes is %d: give a number above 0", f.maxBytes)
	case f.http == "" && (f.tokenFile != "" || f.authority != "" || f.plain):
		return usagef("nothing is posted: give --journal-http")
	}
	return nil
}

// open opens the journal, nil for none.
func (f *journalFlags) open(writer string, stdout io.Writer, logger *slog.Logger) (*journal.Journal, error) {
	if f.dir == "" {
		return nil, nil
	}
	options := journal.Options{
		Dir: f.dir, Writer: writer, MaxTotal: f.maxBytes, Allows: f.allows, Unmatched: f.unmatched, KeyFile: f.keyFile, Logger: logger,
	}
	if f.stdout {
		options.Sinks = append(options.Sinks, journal.NewStream("stdout", stdout))
	}
	if f.http != "" {
		sink, err := journal.NewHTTP(journal.HTTPOptions{
			URL: f.http, Form: f.form, TokenFile: f.tokenFile, CAFile: f.authority, Plain: f.plain, Source: writer,
		})
		if err != nil {
			return nil, correct("--journal-http", usageUnlessFile(err))
		}
		options.Sinks = append(options.Sinks, sink)
	}
	opened, err := journal.Open(options)
	if err != nil {
		return nil, fmt.Errorf("%w: correct --journal", err)
	}
	return opened, nil
}

// usageUnlessFile takes an error for a mistake in a flag, unless it is one of a file.
func usageUnlessFile(err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return err
	}
	return usageError{err}
}

// closeJournal writes what is left.
func closeJournal(ctx context.Context, opened *journal.Journal, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalClose)
	defer cancel()
	if err := opened.Close(ctx); err != nil {
		logger.Error("closing the journal failed", "error", err)
	}
}

// recorder gives each decision to the journal, and then to the comparison with a revision on trial. Either may be nil.
type recorder struct {
	journal *journal.Journal
	shadow  *shadow.Shadow
}

// Record implements [webhook.Recorder].
func (r recorder) Record(ctx context.Context, decision *admission.Decision) {
	if r.journal != nil {
		r.journal.Record(ctx, decision)
	}
	if r.shadow != nil && !decision.Mutation {
		r.shadow.Offer(decision.Request, decision.Verdict)
	}
}
