package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
)

// ReplayOptions say what is judged again, and by what. After is required.
type ReplayOptions struct {
	// Before is what the decisions are compared with, nil for what was answered then.
	Before *admission.Lineup
	// After is what they are judged by.
	After *admission.Lineup
	// Profile judges all of them, "" for those that the bundles assign.
	Profile string
	// Filter says which decisions.
	Filter Filter
	// Workers is how many are judged at a time, one for each processor if 0.
	Workers int
}

// evaluation bounds one decision. It is far above what any takes, so that the same journal gives the same report on a slow
// machine, too.
const evaluation = 30 * time.Second

// Replay judges the decisions of a journal again, each with the facts and at the time of its own, and says what would
// become of them. Nothing is asked of a cluster or a registry: what was not recorded then leaves open the policies that
// read it. The report is the same for the same journal and bundles, whatever the number of workers.
func Replay(ctx context.Context, dir string, o ReplayOptions) (*Report, error) {
	if o.After == nil || len(o.After.Members) == 0 {
		return nil, errors.New("replaying the journal: there is no bundle to judge by: name one")
	}
	archive, err := newArchive(dir)
	if err != nil {
		return nil, err
	}
	o.Before, o.After = cautious(o.Before), cautious(o.After)
	r := &replayer{archive: archive, options: o}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	report := newReporter(o)
	for result := range r.results(ctx, dir) {
		if result.err != nil {
			return nil, result.err
		}
		report.add(&result)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("replaying the journal: %w", context.Cause(ctx))
	}
	return report.finish(), nil
}

// replayer judges lines.
type replayer struct {
	archive *archive
	options ReplayOptions
	pods    workload.Cache
}

// replayed is what became of a line.
type replayed struct {
	line          *Line // nil for one that the filter leaves out
	effect        Effect
	changes       []PolicyChange
	before, after answer
	skipped       bool // nobody judged it then
	err           error
}

// job is a line on its way through a worker.
type job struct {
	raw    rawLine
	result chan replayed
}

// results are those of all lines, in their order.
func (r *replayer) results(ctx context.Context, dir string) <-chan replayed {
	workers := r.options.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	jobs, order, results := make(chan *job, workers), make(chan *job, 64*workers), make(chan replayed)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for job := range jobs {
				job.result <- r.replay(ctx, job.raw)
			}
		})
	}
	go func() {
		defer close(order)
		defer close(jobs)
		r.feed(ctx, dir, jobs, order)
	}()
	go func() {
		defer close(results)
		defer group.Wait()
		for job := range order {
			select {
			case result := <-job.result:
				select {
				case results <- result:
				case <-ctx.Done():
				}
			case <-ctx.Done():
			}
		}
	}()
	return results
}

// feed reads lines and hands them out.
func (r *replayer) feed(ctx context.Context, dir string, jobs, order chan<- *job) {
	for raw, err := range rawLines(dir) {
		next := &job{result: make(chan replayed, 1)}
		if err != nil {
			next.result <- replayed{err: err}
		} else if raw.torn {
			continue
		} else {
			raw.content = slices.Clone(raw.content)
			next.raw = raw
		}
		select {
		case order <- next:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
		select {
		case jobs <- next:
		case <-ctx.Done():
			return
		}
	}
}

// replay judges one line on both sides.
func (r *replayer) replay(ctx context.Context, raw rawLine) replayed {
	line, err := decodeLine(raw)
	if err != nil {
		return replayed{err: err}
	}
	if line.Kind == KindHeader {
		return replayed{line: line}
	}
	if !r.options.Filter.takes(line) {
		return replayed{}
	}
	result := replayed{line: line}
	if outcome := line.Decision.Outcome; outcome == "shed" || outcome == "rejected" {
		result.skipped = true
		return result
	}
	before := &line.Decision.Verdict
	if line.Decision.Outcome == "unmatched" {
		before = &Verdict{Admitted: true}
	} else {
		before = partOf(before, line.Decision, r.options.After)
	}
	asked := r.ask(line.Decision)
	if r.options.Before != nil {
		before = r.judge(ctx, line, asked, r.options.Before)
	}
	after := r.judge(ctx, line, asked, r.options.After)
	result.effect, result.changes = compare(before, after)
	result.before, result.after = answerOf(before), answerOf(after)
	return result
}

// asked is what both sides are asked, or why they cannot be.
type asked struct {
	request    admission.Request
	exceptions []policies.Exception
	err        error
}

func (r *replayer) ask(d *Decision) asked {
	request, err := r.archive.request(d)
	if err != nil {
		return asked{err: err}
	}
	exceptions, err := r.archive.exceptionsOf(d)
	request.Redacted = slices.Concat(request.Redacted, redactedFacts(d))
	if r.options.Before != nil {
		request.Share(&r.pods)
	}
	return asked{request, exceptions, err}
}

// judge asks one side.
func (r *replayer) judge(ctx context.Context, line *Line, asked asked, lineup *admission.Lineup) *Verdict {
	if asked.err != nil {
		return openVerdict(asked.err.Error())
	}
	d, request := line.Decision, asked.request
	dated := &admission.Lineup{Members: lineup.Members, Exceptions: slices.Concat(asked.exceptions, lineup.Exceptions)}
	reviewer := admission.NewLineupReviewer(dated, recorded{r.archive, d}, func() time.Time { return line.Time })
	reviewer.Pin(r.options.Profile)
	if !reviewer.Matches(&request) {
		return &Verdict{Admitted: true}
	}
	if d.Outcome == "unmatched" {
		return openVerdict("no policy was about it then, and so its object was not looked at")
	}
	ctx, cancel := context.WithTimeout(ctx, evaluation)
	defer cancel()
	var verdict admission.Verdict
	switch {
	case request.Operation == policies.OperationEvent:
		verdict = reviewer.Respond(ctx, request)
	case request.Sync != nil:
		verdict = reviewer.Sync(ctx, request)
	case d.Mutation:
		verdict = reviewer.Mutate(ctx, request)
	default:
		verdict = reviewer.Review(ctx, request)
	}
	return &Verdict{
		Admitted: verdict.Admitted, Profile: verdict.Profile, Matched: verdict.Matched,
		Findings: verdict.Findings, Faults: verdict.Faults, Undecided: verdict.Undecided, Responses: verdict.Responses, Permits: verdict.Permits, Patch: verdict.Patch,
	}
}

// partOf is what a verdict says of the bundles of a lineup, where several judged and all of those are among them: a bundle that
// is judged by again says nothing of the others.
func partOf(v *Verdict, d *Decision, lineup *admission.Lineup) *Verdict {
	names := map[string]bool{}
	for n := range lineup.Members {
		names[lineup.Members[n].Active.Bundle] = true
	}
	judged := map[string]bool{}
	for n := range d.Judges {
		judged[d.Judges[n].Bundle] = true
	}
	for name := range names {
		if !judged[name] {
			return v
		}
	}
	if len(names) == len(judged) {
		return v
	}
	part := &Verdict{Profile: v.Profile, Patch: v.Patch}
	bundle := func(name string) string {
		if len(names) == 1 {
			return "" // as one that judges alone
		}
		return name
	}
	for _, finding := range v.Findings {
		if names[finding.Bundle] {
			finding.Bundle = bundle(finding.Bundle)
			part.Findings = append(part.Findings, finding)
		}
	}
	for _, fault := range v.Faults {
		if fault.Bundle == "" || names[fault.Bundle] {
			fault.Bundle = bundle(fault.Bundle)
			part.Faults = append(part.Faults, fault)
		}
	}
	for _, open := range v.Undecided {
		if open.Bundle == "" || names[open.Bundle] {
			open.Bundle = bundle(open.Bundle)
			part.Undecided = append(part.Undecided, open)
		}
	}
	for _, one := range v.Responses {
		if names[one.Bundle] {
			one.Bundle = bundle(one.Bundle)
			part.Responses = append(part.Responses, one)
		}
	}
	for _, one := range v.Permits {
		if names[one.Bundle] {
			one.Bundle = bundle(one.Bundle)
			part.Permits = append(part.Permits, one)
		}
	}
	part.Admitted = !slices.ContainsFunc(part.Findings, admission.Denies) && !slices.ContainsFunc(part.Faults, admission.FaultDenies) &&
		!slices.ContainsFunc(part.Undecided, admission.UndecidedCounts)
	return part
}

// revisionsOf names the revisions of a lineup for people.
func revisionsOf(lineup *admission.Lineup) string {
	var names []string
	for n := range lineup.Members {
		names = append(names, lineup.Members[n].Active.Revision)
	}
	return strings.Join(names, ", ")
}
