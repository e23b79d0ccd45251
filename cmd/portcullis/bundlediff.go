package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/spf13/cobra"
)

// bundleDiffFlags are those of portcullis bundle diff.
type bundleDiffFlags struct {
	bundle  bundleFlags
	journal string
	filter  journalFlags
	format  string
}

func (p *program) bundleDiffCommand() *cobra.Command {
	var f bundleDiffFlags
	command := &cobra.Command{
		Use:   "diff BUNDLE BUNDLE",
		Short: "Say how two bundles differ, and what that would change",
		Long: `diff compares two bundles by what they mean: which policies come, go and change, what is configured in which
profile (enforcement, ramp, match, parameters), exceptions, trust, and the rest. Where a change can only refuse
more or less it says so.

With --journal it judges the decisions of a journal by both, and says which would change.

A bundle is ` + bundlesource.Forms + `.

It exits with 0, whatever the differences.`,
		Example: `  portcullis bundle diff git+https://git.example.com/policies@main . --bundle-verification verification.yaml
  portcullis bundle diff cluster policies/ --journal /var/lib/portcullis/journal
  portcullis bundle diff ../base . --format markdown >> "$GITHUB_STEP_SUMMARY"`,
		Args: arguments(cobra.ExactArgs(2), "name two bundles, the older one first"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.bundleDiff(command.Context(), &f, args[0], args[1])
		},
	}
	f.bundle.registerElsewhere(command.Flags(), nil)
	command.Flags().StringVar(&f.journal, "journal", "", "`directory` of a webhook's journal whose decisions are judged by both")
	f.filter.register(command.Flags())
	command.Flags().StringVar(&f.format, "format", "text", "`format`: text, json or markdown")
	complete(command, "format", "text", "json", "markdown")
	return command
}

// bundleDifference is what diff says.
type bundleDifference struct {
	*revision.Difference
	// Effect is what the difference would change, nil where no journal was given.
	Effect *journal.Report `json:"effect,omitempty"`
}

func (p *program) bundleDiff(ctx context.Context, f *bundleDiffFlags, before, after string) error {
	if !slices.Contains([]string{"text", "json", "markdown"}, f.format) {
		return usagef("choosing the format %q: no such format: use text, json or markdown", f.format)
	}
	filter, err := f.filter.filter(time.Now())
	if err != nil {
		return err
	}
	if f.journal == "" && f.filter != (journalFlags{}) {
		return usagef("--since, --until, --namespace and --policy choose decisions of a journal: name it with --journal, or leave them out")
	}
	if f.journal != "" {
		if err := checkJournal(f.journal); err != nil {
			return err
		}
	}
	var sides []*revision.Revision
	for _, ref := range []string{before, after} {
		side, err := f.bundle.other(ref).revision(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		sides = append(sides, side)
	}
	difference := &bundleDifference{}
	if difference.Difference, err = revision.Diff(sides[0], sides[1]); err != nil {
		return err
	}
	if f.journal != "" {
		alone := func(r *revision.Revision) *admission.Lineup {
			return &admission.Lineup{Members: []admission.Member{{Active: r.Ready}}}
		}
		difference.Effect, err = journal.Replay(ctx, f.journal, journal.ReplayOptions{Before: alone(sides[0]), After: alone(sides[1]), Filter: filter})
		if err != nil {
			return err
		}
	}
	switch f.format {
	case "json":
		return writeDocument(p.stdout, difference)
	case "markdown":
		return writeDiffMarkdown(p.stdout, difference)
	}
	return writeDiffText(p.stdout, difference)
}
