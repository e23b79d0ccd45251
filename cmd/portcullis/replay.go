package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/spf13/cobra"
)

// replayFlags are those of portcullis replay.
type replayFlags struct {
	bundle         bundleFlags
	against        string
	journal        journalFlags
	format, output string
	workers        int
}

func (p *program) replayCommand() *cobra.Command {
	var f replayFlags
	command := &cobra.Command{
		Use:   "replay JOURNAL",
		Short: "Say which decisions of a journal another bundle would change",
		Long: `replay judges the decisions of a webhook's journal again by --bundle, each with the facts
and at the time of its own, and says which would change: compared with what was answered
then or, with --against, with what that bundle makes of them.

Nothing is asked of a cluster or a registry. A policy that reads what was not recorded,
as objects that no policy asked for, evidence for another trust, or what the journal has
replaced because it is secret, is "not replayable": nothing is guessed.

Exit codes, where several apply the first one listed:
  64  usage      wrong flags or arguments
  4   fault      the journal or a bundle cannot be read
  1   denied     something becomes denied
  3   undecided  something is not replayable
  0   admitted   nothing becomes denied, and nothing is left open`,
		Example: `  portcullis replay /var/lib/portcullis/journal --bundle .
  portcullis replay journal --bundle . --against git+https://git.example/policies@v1 --format html -o effect.html`,
		Args: arguments(cobra.ExactArgs(1), "name the folder of one journal"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.replay(command.Context(), &f, args[0])
		},
	}
	flags := command.Flags()
	f.bundle.register(command, nil)
	f.journal.register(flags)
	flags.StringVar(&f.against, "against", "", "compare with what this `bundle` makes of the decisions, instead of what was answered then")
	flags.StringVar(&f.format, "format", "text", "`format` of the report: text, json, html")
	flags.StringVarP(&f.output, "output", "o", "", "write the report to this `file` instead of standard output")
	flags.IntVar(&f.workers, "workers", 0, "judge this `number` of decisions at a time (default: one for each processor)")
	complete(command, "format", "text", "json", "html")
	complete(command, "profile", "baseline", "restricted", "hardened")
	return command
}

// replayFormats are the forms of a report.
var replayFormats = map[string]func(io.Writer, *journal.Report) error{
	"text": writeReplayText,
	"json": writeReplayJSON,
	"html": journal.WriteHTML,
}

func (p *program) replay(ctx context.Context, f *replayFlags, dir string) error {
	write := replayFormats[f.format]
	if write == nil {
		return usagef("--format=%s: use --format=text, json or html", f.format)
	}
	filter, err := f.journal.filter(time.Now())
	if err != nil {
		return err
	}
	if err := checkJournal(dir); err != nil {
		return err
	}
	report, err := f.effect(ctx, dir, filter)
	if err != nil {
		return err
	}
	p.code = replayExit(report)
	if report.Decisions == 0 {
		fmt.Fprintln(p.stderr, "No decision was judged again: the journal has none, or none that --since, --until, --namespace and --policy ask for.")
	}
	if f.output == "" {
		return write(p.stdout, report)
	}
	return writeWhole(f.output, func(w io.Writer) error { return write(w, report) })
}

// effect loads the bundles and replays.
func (f *replayFlags) effect(ctx context.Context, dir string, filter journal.Filter) (*journal.Report, error) {
	defer collectLess()()
	after, err := f.bundle.lineup(ctx)
	if err != nil {
		return nil, err
	}
	options := journal.ReplayOptions{After: after, Filter: filter, Workers: f.workers, Profile: f.bundle.profile}
	if f.against != "" {
		if options.Before, err = f.bundle.other(f.against).lineup(ctx); err != nil {
			return nil, err
		}
	}
	return journal.Replay(ctx, dir, options)
}

// replayExit is how a replay ends.
func replayExit(report *journal.Report) gate.ExitCode {
	switch {
	case report.NewlyDenied > 0:
		return gate.ExitDenied
	case report.NotReplayable > 0:
		return gate.ExitUndecided
	}
	return gate.ExitAdmitted
}

// writeWhole makes a file visible when it was written as a whole.
func writeWhole(name string, write func(io.Writer) error) error {
	file, err := output.Create(name, "--output")
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		return errors.Join(err, file.Discard())
	}
	return file.Commit()
}

// writeReplayJSON writes a report for programs.
func writeReplayJSON(w io.Writer, report *journal.Report) error { return writeDocument(w, report) }

// writeDocument writes JSON that can be shown on a terminal, too.
func writeDocument(w io.Writer, value any) error {
	var b bytes.Buffer
	if err := writeJSON(&b, value); err != nil {
		return err
	}
	_, err := w.Write(output.EscapeJSON(b.Bytes()))
	return err
}

// Bounds of what the text shows: the JSON has all of it.
const (
	maxTextNamespaces = 5
	maxTextSamples    = 2
)

// writeReplayText writes a report for a terminal or a log.
func writeReplayText(w io.Writer, report *journal.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "before  %s\nafter   %s\n", output.Plain(report.Before), output.Plain(report.After))
	fmt.Fprintf(&b, "%s", counted(report.Decisions, "decision"))
	if report.Since != nil {
		fmt.Fprintf(&b, " from %s to %s", report.Since.UTC().Format(time.RFC3339), report.Until.UTC().Format(time.RFC3339))
	}
	b.WriteString("\n\n")
	for _, line := range []struct {
		count int
		what  string
	}{
		{report.NewlyDenied, "newly denied"}, {report.NewlyAdmitted, "newly admitted"}, {report.Changed, "changed: other reasons, warnings or patches"},
		{report.NotReplayable, "not replayable"}, {report.Unchanged, "unchanged"},
	} {
		fmt.Fprintf(&b, "%9d  %s\n", line.count, line.what)
	}
	for n := range report.Policies {
		showPolicyReport(&b, &report.Policies[n])
	}
	showNamespaceReports(&b, report)
	if len(report.Policies) > 0 {
		b.WriteString("\nA policy's new denials count whether or not another policy denies the same request anyway.\nWhy a decision was made: portcullis explain DECISION --journal JOURNAL --bundle BUNDLE\n")
	}
	if report.Allows < 1 {
		fmt.Fprintf(&b, "\nThe journal kept a share of %.3g of plain admissions: new denials among the others are not counted.\n", report.Allows)
	}
	if report.Unjudged > 0 {
		fmt.Fprintf(&b, "\n%s shed or unreadable: nobody judged them then, and they are not among the decisions.\n", was(report.Unjudged, "request"))
	}
	_, err := fmt.Fprint(w, b.String())
	return err
}

// was is a number with its noun and verb.
func was(count int, noun string) string {
	if count == 1 {
		return counted(count, noun) + " was"
	}
	return counted(count, noun) + " were"
}

func showPolicyReport(b *strings.Builder, report *journal.PolicyReport) {
	name := report.Policy
	if name == "" {
		name = "no single policy"
	}
	fmt.Fprintf(b, "\n%s: %s\n", output.Plain(name), policyCounts(&report.PolicyCounts))
	for n, namespace := range report.Namespaces {
		if n == maxTextNamespaces {
			fmt.Fprintf(b, "  and %s more\n", counted(len(report.Namespaces)-n, "namespace"))
			break
		}
		fmt.Fprintf(b, "  %s: %s\n", namespaceName(namespace.Namespace), policyCounts(&namespace.PolicyCounts))
	}
	for _, reason := range report.Reasons {
		fmt.Fprintf(b, "  not replayable, %s: %s\n", times(reason.Count), output.Plain(reason.Reason))
	}
	for n, sample := range report.Samples {
		if n == maxTextSamples {
			break
		}
		fmt.Fprintf(b, "  for example %s, which it %s and then %s: %s (decision %s)\n", output.Plain(sample.Object),
			stanceWords[sample.Before], stanceWords[sample.After], output.Plain(sample.Message), output.Plain(sample.ID))
	}
}

func times(count int) string {
	if count == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", count)
}

// stanceWords say what a policy does about a request.
var stanceWords = map[journal.Stance]string{
	journal.StanceDenies: "denies", journal.StanceFails: "fails on", journal.StanceNotReplayable: "cannot judge again",
	journal.StanceWarns: "warns of", journal.StanceRecords: "records", journal.StanceWaived: "waives", journal.StanceSilent: "lets pass",
}

// policyCounts are the numbers that are not zero.
func policyCounts(c *journal.PolicyCounts) string {
	var parts []string
	for _, part := range []struct {
		count int
		text  string
	}{{c.NewDenials, counted(c.NewDenials, "new denial")}, {c.LiftedDenials, counted(c.LiftedDenials, "denial") + " lifted"}, {c.Changed, fmt.Sprint(c.Changed, " changed")}, {c.NotReplayable, fmt.Sprint(c.NotReplayable, " not replayable")}} {
		if part.count > 0 {
			parts = append(parts, part.text)
		}
	}
	return strings.Join(parts, ", ")
}

func namespaceName(name string) string {
	if name == "" {
		return "without a namespace"
	}
	return output.Plain(name)
}

// showNamespaceReports lists the namespaces where something changes.
func showNamespaceReports(b *strings.Builder, report *journal.Report) {
	const format = "%9s %9s %9s %9s %9s  %s\n"
	headed := false
	for _, namespace := range report.Namespaces {
		if namespace.Unchanged == namespace.Decisions {
			continue
		}
		if !headed {
			headed = true
			fmt.Fprintf(b, "\n"+format, "decisions", "denied", "admitted", "changed", "open", "namespace")
		}
		fmt.Fprintf(b, format, fmt.Sprint(namespace.Decisions), fmt.Sprint(namespace.NewlyDenied), fmt.Sprint(namespace.NewlyAdmitted),
			fmt.Sprint(namespace.Changed), fmt.Sprint(namespace.NotReplayable), namespaceName(namespace.Namespace))
	}
}
