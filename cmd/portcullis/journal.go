package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// journalFlags say which decisions of a journal are looked at.
type journalFlags struct {
	since, until, namespace, policy string
}

func (f *journalFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.since, "since", "", "leave out decisions before this `time`: 2026-03-01, 2026-03-01T12:00:00Z, or how long ago, as 24h")
	flags.StringVar(&f.until, "until", "", "leave out decisions from this `time` on")
	flags.StringVar(&f.namespace, "namespace", "", "only decisions about this `namespace`")
	flags.StringVar(&f.policy, "policy", "", "only decisions that this `policy` spoke about then")
}

// filter reads the flags. now is what durations count back from.
func (f *journalFlags) filter(now time.Time) (filter journal.Filter, err error) {
	filter.Namespace, filter.Policy = f.namespace, f.policy
	if filter.Since, err = parseMoment("since", f.since, now); err != nil {
		return filter, err
	}
	if filter.Until, err = parseMoment("until", f.until, now); err != nil {
		return filter, err
	}
	if !filter.Until.IsZero() && !filter.Since.Before(filter.Until) {
		return filter, usagef("--since=%s is not before --until=%s: nothing lies between", f.since, f.until)
	}
	return filter, nil
}

func parseMoment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if moment, err := policies.ParseMoment(text); err == nil {
		return moment, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, usagef("--%s=%s is no time: give a day as 2026-03-01, a time as 2026-03-01T12:00:00Z, or how long ago as 24h", flag, text)
}

func (p *program) journalCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "journal",
		Short: "Verify the journal of a webhook",
		Args:  knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("portcullis journal needs to know what to do: name a command, as portcullis journal verify")
		},
	}
	command.AddCommand(p.journalVerifyCommand())
	return command
}

func (p *program) journalVerifyCommand() *cobra.Command {
	var format, head string
	command := &cobra.Command{
		Use:   "verify JOURNAL",
		Short: "Say whether every line of a journal is as it was written",
		Long: `verify walks the chain of a journal: each line has a number, and the hash of the line
before it. It also reads every fact that a line names.

A chain alone does not tell that lines are missing at its end. Keep the head that verify
prints elsewhere, and give it the next time with --head.

Exit codes:
  64  usage      wrong flags or arguments
  4   fault      the journal cannot be read
  1   denied     a line is not as it was written, is missing, or names a fact that is
  0   admitted   every line is as it was written`,
		Example: `  portcullis journal verify /var/lib/portcullis/journal`,
		Args:    arguments(cobra.ExactArgs(1), "name the folder of one journal"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.verifyJournal(command, args[0], head, format)
		},
	}
	command.Flags().StringVar(&head, "head", "", "the `hash` of a line that must be there: the head that an earlier run printed")
	command.Flags().StringVar(&format, "format", "text", "`format`: text or json")
	complete(command, "format", "text", "json")
	return command
}

func (p *program) verifyJournal(command *cobra.Command, dir, head, format string) error {
	if format != "text" && format != "json" {
		return usagef("--format=%s: use --format=text or --format=json", format)
	}
	if err := checkJournal(dir); err != nil {
		return err
	}
	found, err := journal.Verify(command.Context(), dir, head)
	if err != nil {
		return err
	}
	if !found.Intact() {
		p.code = gate.ExitDenied
	}
	if format == "json" {
		return writeDocument(p.stdout, found)
	}
	return p.showChain(dir, found)
}

func (p *program) showChain(dir string, v *journal.Verification) error {
	var b strings.Builder
	state := "intact"
	if !v.Intact() {
		state = "not intact"
	}
	fmt.Fprintf(&b, "%s: %s\n", output.Plain(dir), state)
	fmt.Fprintf(&b, "  %s, %s, %s, %s, %s\n", counted(int(v.Decisions), "decision"), counted(int(v.Transitions), "transition"),
		counted(v.Files, "file"), counted(int(v.Restarts), "restart"), counted(v.Facts, "fact"))
	if v.Lines > 0 {
		fmt.Fprintf(&b, "  lines %d to %d, %s to %s\n", v.First, v.Last, v.Since.UTC().Format(time.RFC3339), v.Until.UTC().Format(time.RFC3339))
		fmt.Fprintf(&b, "  head %s\n", v.Head)
	}
	if v.First > 1 {
		fmt.Fprintf(&b, "  what came before line %d is gone: its files were too old, or were removed\n", v.First)
	}
	if v.Torn {
		b.WriteString("  the last line has no end: its writer is at it, or was stopped\n")
	}
	if v.Break != nil {
		fmt.Fprintf(&b, "  broken at %s:%d: %s\n", v.Break.File, v.Break.Line, output.Plain(v.Break.Reason))
	}
	for _, missing := range v.Missing {
		fmt.Fprintf(&b, "  %s\n", output.Plain(missing))
	}
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}

// counted is a number with its noun.
func counted(count int, noun string) string {
	if count == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", count, noun)
}

// checkJournal refuses what is no folder, before anything else is loaded.
func checkJournal(dir string) error {
	if !isDirectory(dir) {
		return usagef("opening the journal: %s is no directory: name the folder that the webhook's --journal names", dir)
	}
	return nil
}
