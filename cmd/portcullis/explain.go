package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// explainFlags are those of portcullis explain.
type explainFlags struct {
	bundle bundleFlags
	source sourceFlags
	images imageFlags
	patch  string
	// journal is the folder of a journal: then a decision of it is explained. format is for those only.
	journal, format string
}

func (p *program) explainCommand() *cobra.Command {
	var f explainFlags
	command := &cobra.Command{
		Use:   "explain FILE|-|ID",
		Short: "Say why objects are denied, and the smallest change that would pass",
		Long: `explain judges as gate does and shows for each finding the rule and its lines, the fields
that they read with their values, and the smallest change that would pass.

With --patch it prints only the changed manifests (or RFC 6902 patches with --patch=json).
Standard error names the values that policies made up, as placeholders for digests that
cannot be known: check each of them by hand. Comments are lost.

With --journal it says the same of a decision of a webhook, by the id that the denial names:
with the facts and exceptions of then, and by --bundle, which should be the revision that
judged. It exits as the decision ended.

` + exitHelp(),
		Example: `  portcullis explain deploy/web.yaml
  portcullis explain deploy/web.yaml --patch > fixed.yaml
  portcullis explain 0f8fad5b-d9cb-469f-a165-70867728950e --journal /var/lib/portcullis/journal --bundle .`,
		Args: arguments(cobra.MinimumNArgs(1), "name a file, or - for standard input, or with --journal the id of a decision"),
		RunE: func(command *cobra.Command, args []string) error {
			if f.journal != "" {
				return p.explainDecision(command.Context(), &f, args)
			}
			return p.explain(command.Context(), &f, args)
		},
	}
	f.bundle.register(command, &f.images.registries)
	f.source.register(command.Flags())
	f.images.register(command.Flags())
	command.Flags().StringVar(&f.patch, "patch", "", "print the changed manifests (yaml) or the patches (json)")
	command.Flags().Lookup("patch").NoOptDefVal = "yaml"
	command.Flags().StringVar(&f.journal, "journal", "", "`folder` of a webhook's journal: explain the decision of it with this id, or with the uid of its request")
	command.Flags().StringVar(&f.format, "format", "text", "with --journal, the `format`: text or json")
	complete(command, "patch", "yaml", "json")
	complete(command, "profile", "baseline", "restricted", "hardened")
	complete(command, "scan", scanMissing, scanAlways, scanNever)
	return command
}

// decisionID is what the id of a decision and the uid of a request look like.
var decisionID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// notDecision refuses an id of a decision where no journal is named and no file is called so.
func notDecision(argument string) error {
	if !decisionID.MatchString(argument) {
		return nil
	}
	if _, err := os.Stat(argument); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return usagef("explaining %s: there is no such file: if it is a decision of a webhook, name its journal with --journal", argument)
}

func (p *program) explain(ctx context.Context, f *explainFlags, paths []string) error {
	if f.format != "text" {
		return usagef("--format is for decisions of a journal: leave it out, or name the journal with --journal")
	}
	if !slices.Contains([]string{"", "yaml", "json"}, f.patch) {
		return usagef("--patch=%s: use --patch=yaml or --patch=json", f.patch)
	}
	if err := f.images.check(); err != nil {
		return err
	}
	if err := notDecision(paths[0]); err != nil {
		return err
	}
	loaded, err := f.source.load(ctx, p, paths)
	if err != nil {
		return err
	}
	for _, problem := range loaded.Problems {
		fmt.Fprintf(p.stderr, "%s: unreadable: %s\n", output.Plain(problem.Location.String()), output.Plain(problem.Message))
	}
	codes := []gate.ExitCode{gate.ExitAdmitted}
	if len(loaded.Problems) > 0 {
		codes = append(codes, gate.ExitFault)
	} else if len(loaded.Documents) == 0 {
		return usagef("there is nothing to explain: no Kubernetes object in %s", strings.Join(paths, ", "))
	}
	lineup, err := f.bundle.lineup(ctx)
	if err != nil {
		return err
	}
	images, err := f.images.open(ctx, lineup, p.stderr)
	if err != nil {
		return err
	}
	defer images.close()
	cluster, err := f.source.cluster(ctx)
	if err != nil {
		return err
	}
	g := &gate.Gate{Lineup: lineup, Profile: f.bundle.profile, Namespace: f.source.namespace, Cluster: cluster, Images: images.facts, Fresh: images.fresh, Version: version.String(), Now: time.Now}
	err = g.Explain(ctx, loaded, func(e gate.Explanation) error {
		codes = append(codes, e.Outcome.Exit())
		return p.show(f, &e)
	})
	if f.patch == "yaml" {
		p.noteComments()
	}
	p.code = gate.Worst(codes...)
	return err
}

func (p *program) show(f *explainFlags, e *gate.Explanation) error {
	switch f.patch {
	case "yaml":
		return p.showManifest(e)
	case "json":
		return p.showOperations(e)
	}
	return p.showReasons(e)
}

// showManifest prints the object with its changes, or as it is where none are needed.
func (p *program) showManifest(e *gate.Explanation) error {
	object := e.Original
	if e.Fixed != nil {
		object = e.Fixed
	}
	manifest, err := yaml.JSONToYAML(object)
	if err != nil {
		return fmt.Errorf("writing %s: %w", e.Object, err)
	}
	p.notePatch(e)
	_, err = fmt.Fprintf(p.stdout, "---\n%s", manifest)
	return err
}

func (p *program) showOperations(e *gate.Explanation) error {
	operations, err := e.Operations()
	if err != nil {
		return err
	}
	p.notePatch(e)
	if operations == nil {
		return nil
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n", operations)
	return err
}

// showReasons writes one object with all there is to say about it.
func (p *program) showReasons(e *gate.Explanation) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): %s\n", output.Plain(e.Object.String()), output.Plain(e.Location.String()), e.Outcome)
	for _, finding := range e.Findings {
		explainFinding(&b, e, finding)
	}
	for _, fault := range e.Faults {
		fmt.Fprintf(&b, "\n  fault %s: %s: %s\n", output.Plain(fault.Policy), fault.Kind, output.Plain(fault.Message))
	}
	for _, open := range e.Undecided {
		fmt.Fprintf(&b, "\n  undecided %s: %s\n", output.Plain(open.Policy), output.Plain(open.Reason))
	}
	if len(e.Findings)+len(e.Faults)+len(e.Undecided) == 0 {
		fmt.Fprintf(&b, "  %s evaluated, none objects\n", countPolicies(e.Matched))
	}
	_, err := fmt.Fprintln(p.stdout, b.String())
	return err
}

func explainFinding(b *strings.Builder, e *gate.Explanation, finding gate.Finding) {
	fmt.Fprintf(b, "\n  %s %s (%s): %s\n", finding.Weight(), output.Plain(finding.Policy), output.Plain(finding.Severity), output.Plain(finding.Message))
	if finding.ExceptedBy != "" {
		fmt.Fprintf(b, "    waived  by the exception %s\n", output.Plain(finding.ExceptedBy))
	}
	if finding.Path != "" {
		fmt.Fprintf(b, "    field   %s at %s\n", output.Plain(finding.Path), output.Plain(e.Locate(finding.Path).String()))
		fmt.Fprintf(b, "    value   %s\n", shown(e.Value(finding.Path)))
	}
	if trace := traceOf(e.Traces, finding); trace != nil {
		explainTrace(b, trace)
	}
	for _, change := range finding.Fix {
		fmt.Fprintf(b, "    change  %s\n", output.Plain(changeText(change)))
	}
	if finding.Remediation != "" {
		fmt.Fprintf(b, "    mend    %s\n", output.Plain(finding.Remediation))
	}
}

// traceOf is the trace of a finding; nil if tracing met another one.
func traceOf(traces []policies.Trace, finding gate.Finding) *policies.Trace {
	for i, trace := range traces {
		// The finding may say more than its rule: that an exception has expired.
		if trace.Policy == finding.Policy && (finding.Message == trace.Message || strings.HasPrefix(finding.Message, trace.Message+" (exception ")) && trace.Path == finding.Path && trace.Effect == finding.Effect {
			return &traces[i]
		}
	}
	return nil
}

func explainTrace(b *strings.Builder, trace *policies.Trace) {
	fmt.Fprintf(b, "    rule    %s:%d  %s\n", output.Plain(trace.File), trace.Line, output.Plain(trace.Rule))
	for _, step := range trace.Steps {
		fmt.Fprintf(b, "      %4d  %s\n", step.Line, output.Plain(step.Text))
		for _, reading := range step.Reads {
			name := reading.Ref
			if reading.Path != "" {
				name = reading.Path
			}
			fmt.Fprintf(b, "            %s = %s\n", output.Plain(name), shown(reading.Value))
		}
	}
}

// shown is a JSON value on one line, and words where there is none.
func shown(value string) string {
	const most = 200
	if value == "" {
		return "not set"
	}
	if runes := []rune(value); len(runes) > most {
		value = string(runes[:most]) + "…"
	}
	return output.Plain(value)
}

func changeText(change policies.Change) string {
	switch change.Op {
	case "remove":
		return "remove " + change.Path
	case "add":
		return fmt.Sprintf("add %s to %s", jsonText(change.Value), change.Path)
	}
	return fmt.Sprintf("set %s to %s", change.Path, jsonText(change.Value))
}
