package admission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/admission/patch"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// Facts gathers what policies read beside the request. It never fails: what it
// could not get is named in the facts, and the policies that need it then fault
// (or are undecided at the gate).
type Facts interface {
	Gather(ctx context.Context, needs policies.Needs) policies.Facts
}

// Reviewer decides requests with the lineup that is installed. It may be used by any
// number of goroutines.
type Reviewer struct {
	lineup atomic.Pointer[Lineup]
	facts  Facts
	now    func() time.Time
	// profile judges all requests, "" for the bundle's own choice.
	profile string
	// pods are the templates of pods that several judges have met together.
	pods workload.Cache
}

// NewReviewer makes a Reviewer that starts with an engine. now is the clock that
// exceptions expire by.
func NewReviewer(engine *policies.Engine, facts Facts, now func() time.Time) *Reviewer {
	return NewLineupReviewer(Solo(engine), facts, now)
}

// NewLineupReviewer is NewReviewer for several bundles.
func NewLineupReviewer(lineup *Lineup, facts Facts, now func() time.Time) *Reviewer {
	r := &Reviewer{facts: facts, now: now}
	r.Install(lineup)
	return r
}

// Pin makes the Reviewer judge every request by one profile, whatever the bundle
// assigns to its namespace. It is for the time before the first request.
func (r *Reviewer) Pin(profile string) { r.profile = profile }

// Lineup is what judges.
func (r *Reviewer) Lineup() *Lineup { return r.lineup.Load() }

// Activate installs an engine alone.
func (r *Reviewer) Activate(engine *policies.Engine) { r.Install(Solo(engine)) }

// Install replaces the lineup for all requests that start from now on. Those
// under way finish with the old one: none sees both.
func (r *Reviewer) Install(lineup *Lineup) { r.lineup.Store(lineup) }

// Interests are all pairs of resource and operation that some bundle matches.
func (r *Reviewer) Interests() []policies.Interest { return r.Lineup().interests(r.profile) }

// Matches says, without looking at the object, whether any policy is about a
// request's resource and operation.
func (r *Reviewer) Matches(request *Request) bool {
	if r.profile == "" {
		return r.Lineup().matches(request)
	}
	asked := *request
	r.choose(&asked)
	return r.Lineup().matches(&asked)
}

func (r *Reviewer) choose(request *Request) {
	if r.profile != "" {
		request.Profile = r.profile
	}
}

// Review evaluates the deny and warn rules that match the request.
func (r *Reviewer) Review(ctx context.Context, request Request) Verdict {
	r.choose(&request)
	lineup := r.Lineup()
	return newVerdict(lineup, r.evaluate(ctx, lineup, &request, policies.PhaseValidate))
}

// Mutate evaluates the patch rules that match the request and merges what they ask
// for. Patches that contradict each other are a fault.
func (r *Reviewer) Mutate(ctx context.Context, request Request) Verdict {
	r.choose(&request)
	lineup := r.Lineup()
	parts := r.evaluate(ctx, lineup, &request, policies.PhaseMutate)
	edits, failsOpen := patchesOf(parts)
	patched, operations, faults := mergePatches(request.Object, edits, failsOpen)
	verdict := newVerdict(lineup, parts, faults...)
	if verdict.Admitted {
		verdict.Patched, verdict.Patch = patched, operations
	}
	return verdict
}

// Respond evaluates the respond rules that match an event: a request of the operation EVENT. Nothing is admitted or denied by
// its verdict; it is for what is in Responses, and for faults, which ask for nothing and are to be reported.
func (r *Reviewer) Respond(ctx context.Context, request Request) Verdict {
	r.choose(&request)
	lineup := r.Lineup()
	return newVerdict(lineup, r.evaluate(ctx, lineup, &request, policies.PhaseRespond))
}

// Settings are the response sections of all bundles of the lineup that gave a verdict, by the bundle's name as responses have it: ""
// where one bundle judges alone. A bundle without the section has the zero value. Of a tenant's bundle the limits, the
// breaker and what it protects are left out: they would count for what the cluster's bundles ask for, too.
func (v Verdict) Settings() map[string]response.Settings {
	settings := map[string]response.Settings{}
	if v.lineup == nil {
		return settings
	}
	for n := range v.lineup.Members {
		member := &v.lineup.Members[n]
		name := ""
		if len(v.lineup.Members) > 1 {
			name = member.Active.Bundle
		}
		of := member.settings(v.Parts)
		if member.Namespaces != nil {
			of.Protect, of.Limits, of.Breaker = response.Protection{}, response.Limits{}, response.Breaker{}
		}
		settings[name] = of
	}
	return settings
}

// settings is the response section of the revision that judged, or would have.
func (m *Member) settings(parts []Part) response.Settings {
	ready := &m.Active
	for n := range parts {
		if parts[n].Ready == m.Candidate && m.Candidate != nil {
			ready = m.Candidate
		}
	}
	for _, judge := range ready.Judges {
		if engine, ok := judge.(*policies.Engine); ok && engine.Bundle().Manifest.Response != nil {
			return *engine.Bundle().Manifest.Response
		}
	}
	return response.Settings{}
}

// Part is what one judge contributed to a verdict.
type Part struct {
	// Ready is the revision that judged; Candidate says that it is one on trial.
	Ready     *Ready
	Candidate bool
	// Needs are what the judge could read, Facts what was gathered of it, Result what it said.
	Needs  policies.Needs
	Facts  policies.Facts
	Result policies.Result
	// Took is how long the judge thought, facts gathered left out.
	Took time.Duration
}

// evaluate asks all judges whose verdict counts. Several are asked at once.
func (r *Reviewer) evaluate(ctx context.Context, lineup *Lineup, request *Request, phase policies.Phase) []Part {
	now := r.now()
	if judge, ready := lineup.only(); judge != nil {
		part := Part{Ready: ready}
		r.ask(ctx, judge, request, lineup, now, phase, &part)
		return []Part{part}
	}
	var parts []Part
	var judges []Judge
	for n := range lineup.Members {
		member := &lineup.Members[n]
		if !member.concerns(request) || phase == policies.PhaseMutate && !member.mutates(request) {
			continue
		}
		enforced, _ := member.sides(request)
		for _, judge := range enforced.Judges {
			if judge.Matches(request) {
				parts = append(parts, Part{Ready: enforced, Candidate: enforced == member.Candidate})
				judges = append(judges, judge)
			}
		}
	}
	r.askAll(ctx, judges, parts, request, lineup, now, phase)
	return parts
}

func (r *Reviewer) askAll(ctx context.Context, judges []Judge, parts []Part, request *Request, lineup *Lineup, now time.Time, phase policies.Phase) {
	if len(judges) > 1 {
		request.Share(&r.pods)
	}
	var group sync.WaitGroup
	for n := range parts {
		if n == len(parts)-1 {
			r.ask(ctx, judges[n], request, lineup, now, phase, &parts[n])
			break
		}
		group.Go(func() { r.ask(ctx, judges[n], request, lineup, now, phase, &parts[n]) })
	}
	group.Wait()
}

// ask gathers what a judge needs and lets it judge. A panic of the judge is its fault.
func (r *Reviewer) ask(ctx context.Context, judge Judge, request *Request, lineup *Lineup, now time.Time, phase policies.Phase, part *Part) {
	ctx, span := tracing.Start(ctx, "judge")
	defer func() {
		if cause := recover(); cause != nil {
			part.Result = policies.Result{Faults: []policies.Fault{{Kind: policies.FaultPanic, Message: fmt.Sprint(cause)}}}
		}
		part.tell(span)
	}()
	if span.IsRecording() {
		judge = tracedJudge{judge, ctx}
	}
	if part.Needs = judge.Needs(request, phase); !part.Needs.Empty() {
		part.Facts = r.gather(ctx, part.Needs)
	}
	part.Facts.Exceptions = lineup.Exceptions
	began := time.Now()
	part.Result = judge.Evaluate(ctx, request, &part.Facts, now, phase)
	part.Took = time.Since(began)
}

// patchesOf are the patches of all judges, those of several bundles under names that tell them apart, and
// the policies among them that fail open.
func patchesOf(parts []Part) (edits []patch.Edit, failsOpen map[string]bool) {
	failsOpen = map[string]bool{}
	for n := range parts {
		part := &parts[n]
		for _, edit := range part.Result.Patches {
			open := part.Result.FailsOpen[edit.Policy]
			if len(parts) > 1 {
				edit.Policy = part.Ready.Bundle + ":" + edit.Policy
			}
			edits = append(edits, edit)
			if open {
				failsOpen[edit.Policy] = true
			}
		}
	}
	return edits, failsOpen
}

// mergePatches merges what policies ask for. Those to blame for a failure get a fault, and
// the others their patches.
func mergePatches(object []byte, edits []patch.Edit, failsOpen map[string]bool) (patched, operations []byte, faults []policies.Fault) {
	for {
		patched, operations, err := patch.Merge(object, edits)
		if err == nil {
			return patched, operations, faults
		}
		blamed, kind := blame(object, edits, err)
		faults = append(faults, patchFault(blamed, kind, failsOpen, err))
		if len(blamed) == 0 {
			return nil, nil, faults
		}
		edits = slices.DeleteFunc(slices.Clone(edits), func(e patch.Edit) bool { return slices.Contains(blamed, e.Policy) })
	}
}

// blame finds the policies that keep patches from being merged: two that contradict
// each other, or the first whose own patches do not fit the object.
func blame(object []byte, edits []patch.Edit, err error) ([]string, policies.FaultKind) {
	var conflict *patch.ConflictError
	if errors.As(err, &conflict) {
		return slices.Compact(slices.Clone(conflict.Policies[:])), policies.FaultPatch
	}
	for _, edit := range edits {
		own := slices.DeleteFunc(slices.Clone(edits), func(e patch.Edit) bool { return e.Policy != edit.Policy })
		if _, _, err := patch.Merge(object, own); err != nil {
			return []string{edit.Policy}, policies.FaultError
		}
	}
	return nil, policies.FaultPatch
}

// patchFault is the fault of some policies. It denies if that of one of them would, and if they are of several bundles: else
// one bundle could take out what another one patches. Only policies that enforce patch.
func patchFault(blamed []string, kind policies.FaultKind, failsOpen map[string]bool, err error) policies.Fault {
	fault := policies.Fault{Policy: strings.Join(blamed, ", "), Kind: kind, Message: err.Error()}
	if len(blamed) > 0 && ofOneBundle(blamed) && !slices.ContainsFunc(blamed, func(name string) bool { return !failsOpen[name] }) {
		fault.FailMode = policies.FailOpen
	}
	return fault
}

// ofOneBundle says whether policies, named as patchesOf does, are of one bundle.
func ofOneBundle(names []string) bool {
	first, _, _ := strings.Cut(names[0], ":")
	return !slices.ContainsFunc(names, func(name string) bool {
		bundle, _, named := strings.Cut(name, ":")
		return named && bundle != first
	})
}

// newVerdict adds up what the judges said. It admits only when nothing speaks against it.
func newVerdict(lineup *Lineup, parts []Part, further ...policies.Fault) Verdict {
	verdict := Verdict{Parts: parts, lineup: lineup}
	if len(lineup.Members) == 0 {
		further = append(further, policies.Fault{Kind: policies.FaultFacts, Message: "no bundle is loaded: nothing can be judged"})
	}
	for n := range parts {
		verdict.add(&parts[n], len(lineup.Members) > 1)
	}
	verdict.Faults = append(verdict.Faults, further...)
	if len(parts) > 1 {
		verdict.sort()
	}
	verdict.Bundle = revisions(lineup, parts)
	verdict.Admitted = verdict.admits()
	return verdict
}

// add takes in what one judge said; named says that several bundles judge, so that each has to be named.
func (v *Verdict) add(part *Part, named bool) {
	result := &part.Result
	if named {
		result.Name(part.Ready.Bundle)
	}
	if v.Profile == "" {
		v.Profile = result.Profile
	}
	v.Matched += result.Matched
	v.Responses = slices.Concat(v.Responses, result.Responses)
	v.Permits = slices.Concat(v.Permits, result.Permits)
	if v.Findings == nil && v.Faults == nil && v.Undecided == nil {
		v.Findings, v.Faults, v.Undecided = result.Findings, result.Faults, result.Undecided
		return
	}
	v.Findings = slices.Concat(v.Findings, result.Findings)
	v.Faults = slices.Concat(v.Faults, result.Faults)
	v.Undecided = slices.Concat(v.Undecided, result.Undecided)
}

// sort puts what several judges said in one order.
func (v *Verdict) sort() {
	merged := policies.Result{Findings: v.Findings, Faults: v.Faults, Undecided: v.Undecided, Responses: v.Responses, Permits: v.Permits}
	merged.Sort()
	v.Findings, v.Faults, v.Undecided = merged.Findings, merged.Faults, merged.Undecided
}

func (v *Verdict) admits() bool {
	return !slices.ContainsFunc(v.Findings, Denies) &&
		!slices.ContainsFunc(v.Faults, FaultDenies) &&
		!slices.ContainsFunc(v.Undecided, UndecidedCounts)
}

// revisions are those that judged, or, where none was asked, that would have.
func revisions(lineup *Lineup, parts []Part) string {
	if len(parts) == 1 {
		return parts[0].Ready.Revision
	}
	var names []string
	for n := range parts {
		names = append(names, parts[n].Ready.Revision)
	}
	if len(parts) == 0 {
		for n := range lineup.Members {
			names = append(names, lineup.Members[n].Active.Revision)
		}
	}
	return strings.Join(slices.Compact(names), ", ")
}

// Denies says whether a finding speaks against the request.
func Denies(f policies.Finding) bool {
	return f.Effect == policies.EffectDeny && f.Enforcement == policies.EnforceDeny && f.ExceptedBy == ""
}

// Warns says whether a finding is one to tell the user without refusing.
func Warns(f policies.Finding) bool {
	return f.ExceptedBy == "" && !Denies(f) && f.Enforcement <= policies.EnforceWarn
}

// FaultDenies says whether a fault speaks against the request: it does unless the
// policy that failed is not enforced or fails open.
func FaultDenies(f policies.Fault) bool {
	return f.Enforcement == policies.EnforceDeny && f.FailMode == policies.FailClosed
}

// UndecidedCounts says whether an undecided policy leaves the verdict open: one that
// only warns or records does not.
func UndecidedCounts(u policies.Undecided) bool { return u.Enforcement == policies.EnforceDeny }

// Denied says whether the verdict is a denial on complete facts: something objects,
// whatever else is unknown or failed.
func (v Verdict) Denied() bool { return slices.ContainsFunc(v.Findings, Denies) }

// Failed says whether a fault denies.
func (v Verdict) Failed() bool { return slices.ContainsFunc(v.Faults, FaultDenies) }

// Policies are the ids of the policies behind some findings, sorted, each once.
func Policies(findings []policies.Finding) []string {
	var ids []string
	for _, f := range findings {
		ids = append(ids, cmp.Or(f.Instance, f.Policy))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
