// Package journalflags has the flags for the journal of decisions of programs that judge without anybody who waits for the answer.
package journalflags

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies/journal"
)

// Flags say what is kept of decisions.
type Flags struct {
	// Dir is the journal's folder, "" for none.
	Dir string
	// KeyFile is the key of the hashes that replace secrets, "" for one in Dir.
	KeyFile string
	// Share from 0 to 1 is kept of decisions of which little follows.
	Share float64
	// MaxBytes of lines and facts are kept before the oldest go.
	MaxBytes int64

	share string // the name of the flag
}

// Register adds the flags to a set. What little follows of differs between programs: so do the name and the description of the flag
// that says which share of it is kept.
func (f *Flags) Register(set *pflag.FlagSet, share, description string) {
	f.share = share
	set.StringVar(&f.Dir, "journal", "", "`folder` for the journal of all decisions; by default there is none")
	set.Float64Var(&f.Share, share, 1, description)
	set.Int64Var(&f.MaxBytes, "journal-max-bytes", journal.DefaultMaxTotal, "`bytes` of lines and facts before the oldest go")
	set.StringVar(&f.KeyFile, "journal-key", "", "`file` with the key of the hashes that replace secrets; made if need be, in the journal's folder by default")
}

// Check finds mistakes. Its errors are those of usage.
func (f *Flags) Check() error {
	switch {
	case f.Dir == "" && f.KeyFile != "":
		return usage.Errorf("there is no journal to configure: give --journal")
	case !(f.Share >= 0 && f.Share <= 1):
		return usage.Errorf("--%s is %v: give a share from 0 to 1", f.share, f.Share)
	case f.MaxBytes <= 0:
		return usage.Errorf("--journal-max-bytes is %d: give a number above 0", f.MaxBytes)
	}
	return nil
}

// Open opens the journal of a writer, nil for none.
func (f *Flags) Open(writer string, log *slog.Logger) (*journal.Journal, error) {
	if f.Dir == "" {
		return nil, nil
	}
	opened, err := journal.Open(journal.Options{Dir: f.Dir, Writer: writer, MaxTotal: f.MaxBytes, Allows: f.Share, KeyFile: f.KeyFile, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("%w: correct --journal", err)
	}
	return opened, nil
}

// Close writes what is left when a program ends, within a time.
func Close(ctx context.Context, opened *journal.Journal, within time.Duration, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if err := opened.Close(ctx); err != nil {
		log.Error("closing the journal failed", "error", err)
	}
}
