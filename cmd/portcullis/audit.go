package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
)

// auditFlags are those of portcullis audit.
type auditFlags struct {
	bundle     bundleFlags
	target     auditTargetFlags
	report     auditReportFlags
	images     imageFlags
	exceptions auditExceptionFlags
	network    auditNetworkFlags
	capacity   auditCapacityFlags
	failOnWarn bool
	allowGaps  bool
}

func (p *program) auditCommand() *cobra.Command {
	var f auditFlags
	command := &cobra.Command{
		Use:   "audit [DIR…]",
		Short: "Judge what a cluster has already, or a dump of one",
		Long: `audit judges objects that exist as if they were created today.

Without argument it reads the cluster of --kubeconfig and --context, with the rights of
their user, in pages. DIR is a file or directory with a dump, as kubectl get -A -o yaml
writes it, and is taken to be all there is.

What the user may not list is named as a gap, and makes the exit code 3 unless --allow-gaps
is given. A finding of a pod that its Deployment has, too, is reported once, at the Deployment.

Nothing is changed in the cluster. Exceptions and NetworkPolicies are written as files for
people to look at.

` + exitHelp(),
		Example: `  # The cluster that kubectl talks to
  portcullis audit

  # A page with charts, and how it was before
  portcullis audit --context production --html posture.html --history posture.jsonl

  # A dump, without network
  kubectl get deployments,pods,services,networkpolicies,namespaces -A -o yaml > dump/all.yaml
  portcullis audit dump/ --no-images

  # Begin to enforce: except what is there for 30 days, and judge what is new
  portcullis audit --write-exceptions exceptions/ --expires 30d --owner platform --ticket OPS-12

  # What a default-deny would cut off, and what requests cost
  portcullis audit --write-network-policies netpol/ --price-cpu-hour 0.0316 --price-gib-hour 0.0042`,
		RunE: func(command *cobra.Command, args []string) error {
			if err := f.sameCluster(command.Flags()); err != nil {
				return err
			}
			return p.audit(command.Context(), &f, args)
		},
	}
	f.bundle.register(command, &f.images.registries)
	f.target.register(command.Flags())
	f.report.register(command.Flags())
	f.images.register(command.Flags())
	f.exceptions.register(command.Flags())
	f.network.register(command.Flags())
	f.capacity.register(command.Flags())
	command.Flags().BoolVar(&f.failOnWarn, "fail-on-warn", false, "exit with 5 when there are warnings and nothing worse")
	command.Flags().BoolVar(&f.allowGaps, "allow-gaps", false, "name what may not be listed, and do not fail because of it")
	complete(command, "format", auditFormats()...)
	complete(command, "profile", "baseline", "restricted", "hardened")
	complete(command, "scan", scanMissing, scanAlways, scanNever)
	complete(command, "exceptions-as", exceptionsOfCluster, exceptionsOfBundle)
	return command
}

// sameCluster has the bundles of a cluster taken from the one that is audited, unless it is said where else.
func (f *auditFlags) sameCluster(flags *pflag.FlagSet) error {
	const elsewhere = "bundle-kubeconfig"
	if _, of := bundlesource.InCluster(f.bundle.ref); !of || flags.Changed(elsewhere) {
		return nil
	}
	if f.target.context != "" {
		return usagef("--bundle %s reads the current context of a kubeconfig, and --context names another one: say with --%s whose bundles judge, or make it the current one", f.bundle.ref, elsewhere)
	}
	if f.target.kubeconfig != "" {
		return flags.Set(elsewhere, f.target.kubeconfig)
	}
	return nil
}

// check finds flags that contradict each other before anything is asked or judged.
func (f *auditFlags) check(paths []string) error {
	checks := []func() error{
		func() error { return f.target.check(paths) }, f.report.check, f.images.check, f.exceptions.check, f.network.check, f.capacity.check,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) audit(ctx context.Context, f *auditFlags, paths []string) error {
	if err := f.check(paths); err != nil {
		return err
	}
	baseline, err := f.report.known()
	if err != nil {
		return err
	}
	history, err := f.report.readHistory()
	if err != nil {
		return err
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
	target, err := f.target.open(ctx, p, f, paths)
	if err != nil {
		return err
	}
	lineup = target.excepting(lineup)
	run := &auditRun{
		program: p, flags: f, target: target, history: history, lineup: lineup, now: time.Now, fold: audit.NewFold(),
		posture: &audit.Posture{MaxSamples: maxShownFindings}, survey: newAuditSurvey(f),
		gate: &gate.Gate{
			Lineup: lineup, Profile: f.bundle.profile, Namespace: defaultNamespaceOfDumps, Cluster: target.cluster, Baseline: baseline,
			FailOnWarn: f.failOnWarn, Version: version.String(), Now: time.Now,
		},
	}
	reviewer := admission.NewLineupReviewer(lineup, gate.NewFacts(target.cluster, images.facts), time.Now)
	if f.bundle.profile != "" {
		reviewer.Pin(f.bundle.profile)
	}
	return p.writeAudit(&f.report, run, func(handler gate.Handler) error {
		p.code, err = run.run(ctx, reviewer, handler)
		return err
	})
}

// auditRun is one run over what exists.
type auditRun struct {
	program *program
	flags   *auditFlags
	target  *auditTarget
	gate    *gate.Gate
	lineup  *admission.Lineup
	history []historyEntry
	now     func() time.Time

	seen       seenObjects
	fold       *audit.Fold
	posture    *audit.Posture
	survey     *auditSurvey
	violations violations
	report     *gate.Existing
	judged     int
	progress   func(judged int)

	// What it comes to.
	complete, interrupted bool
	outcome               auditOutcome
}

// auditOutcome is what an audit says beyond its results: for JSON and for the page.
type auditOutcome struct {
	Of      string        `json:"of"`
	Posture audit.Summary `json:"posture"`
	auditProposals
	// Exceptions counts what --write-exceptions wrote.
	Exceptions int `json:"exceptionsWritten,omitempty"`
}

// run judges, and finishes the report also when it is interrupted: what was found until then is worth having.
func (r *auditRun) run(ctx context.Context, reviewer *admission.Reviewer, handler gate.Handler) (gate.ExitCode, error) {
	var err error
	if r.report, err = r.gate.Existing(handler); err != nil {
		return gate.ExitFault, err
	}
	r.report.Skipped(r.target.skipped)
	for _, problem := range r.target.problems {
		if err := r.report.Problem(problem); err != nil {
			return gate.ExitFault, err
		}
	}
	r.progress = r.target.progress(r.program.stderr)
	gaps, err := r.judge(ctx, reviewer)
	if err != nil {
		return gate.ExitFault, err
	}
	r.interrupted = ctx.Err() != nil
	if r.judged == 0 && len(gaps) == 0 && len(r.target.problems) == 0 {
		return gate.ExitUsage, r.target.nothing()
	}
	if !r.interrupted {
		more, err := r.propose(ctx, gaps)
		if err != nil {
			return gate.ExitFault, err
		}
		gaps = append(gaps, more...)
	}
	r.complete = len(gaps) == 0
	if err := r.admitGaps(gaps, r.flags.allowGaps && !r.interrupted); err != nil {
		return gate.ExitFault, err
	}
	r.outcome.Of, r.outcome.Posture = r.target.name, r.posture.Summary(r.now())
	if err := r.remember(); err != nil {
		return gate.ExitFault, err
	}
	return r.report.Finish(&r.outcome)
}

// judge has all objects judged, and gives what was not looked at.
func (r *auditRun) judge(ctx context.Context, reviewer *admission.Reviewer) ([]audit.Gap, error) {
	// Exceptions are written for each object, so that what its owner has, too, is folded here.
	auditor := audit.New(audit.Options{Reviewer: reviewer, Now: r.now, Unfolded: true})
	source, gaps, err := r.target.source(ctx, reviewer)
	if err == nil {
		err = auditor.Audit(ctx, r.seen.watch(source, r.target, r.survey), audit.HandlerFunc(r.result))
	}
	var incomplete *audit.IncompleteError
	switch {
	case errors.As(err, &incomplete):
		gaps = append(gaps, incomplete.Gaps...)
	case ctx.Err() != nil:
		gaps = append(gaps, audit.Gap{What: "the rest", Reason: fmt.Sprintf("the audit was interrupted after %d objects: run it again", r.judged)})
	case err != nil:
		return nil, err
	}
	return gaps, nil
}

// admitGaps reports what was not looked at.
func (r *auditRun) admitGaps(gaps []audit.Gap, noted bool) error {
	slices.SortFunc(gaps, compareGaps)
	r.posture.Incomplete(gaps...)
	for _, gap := range gaps {
		if err := r.report.Gap(gap.What, gap.Reason, noted); err != nil {
			return err
		}
	}
	return nil
}

// result takes one object's result in. It is called by one goroutine at a time, in the order of the source.
func (r *auditRun) result(result audit.Result) error {
	seen := r.seen.take()
	if r.flags.exceptions.file != "" {
		r.violations.add(&result, seen)
	}
	result = r.fold.Add(result)
	r.posture.Add(&result)
	r.judged++
	if r.progress != nil {
		r.progress(r.judged)
	}
	return r.report.Add(gate.Judged{
		Object:  gate.Object{APIVersion: result.Object.APIVersion(), Kind: result.Object.Kind, Namespace: result.Object.Namespace, Name: result.Object.Name},
		Verdict: result.Verdict(), Raw: seen.object.Raw, Locate: seen.locate,
	})
}

// propose writes what was asked for beside the report. What was not looked at makes no proposal.
func (r *auditRun) propose(ctx context.Context, known []audit.Gap) (gaps []audit.Gap, err error) {
	if gaps, err = r.survey.finish(ctx, r.target, known); err != nil {
		return nil, err
	}
	if r.outcome.auditProposals, err = r.survey.proposals(r.flags); err != nil {
		return nil, err
	}
	if err := r.flags.network.write(r.program.stderr, r.outcome.Network, len(gaps) > 0); err != nil {
		return nil, err
	}
	if r.flags.exceptions.file != "" {
		r.outcome.Exceptions, err = r.flags.exceptions.write(r.program.stderr, r.lineup, &r.violations, r.now())
	}
	return gaps, err
}

// registerCluster adds the flags that say which cluster.
func registerCluster(flags *pflag.FlagSet, kubeconfig, context *string) {
	flags.StringVar(kubeconfig, "kubeconfig", "", "kubeconfig `file` of the cluster (default: that of kubectl)")
	flags.StringVar(context, "context", "", "`name` of the context of the kubeconfig (default: its current one)")
}
