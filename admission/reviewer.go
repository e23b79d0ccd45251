package admission

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/admission/patch"
	"github.com/portcullis-dev/portcullis/policies"
)

// Facts gathers what policies read beside the request. It never fails: what it
// could not get is named in the facts, and the policies that need it then fault
// (or are undecided at the gate).
type Facts interface {
	Gather(ctx context.Context, needs policies.Needs) policies.Facts
}

// Reviewer decides requests with the bundle that is active. It may be used by any
// number of goroutines.
type Reviewer struct {
	engine atomic.Pointer[policies.Engine]
	facts  Facts
	now    func() time.Time
	// profile judges all requests, "" for the bundle's own choice.
	profile string
}

// NewReviewer makes a Reviewer that starts with an engine. now is the clock that
// exceptions expire by.
func NewReviewer(engine *policies.Engine, facts Facts, now func() time.Time) *Reviewer {
	r := &Reviewer{facts: facts, now: now}
	r.engine.Store(engine)
	return r
}

// Pin makes the Reviewer judge every request by one profile, whatever the bundle
// assigns to its namespace. It is for the time before the first request.
func (r *Reviewer) Pin(profile string) { r.profile = profile }

// Engine is the active engine.
func (r *Reviewer) Engine() *policies.Engine { return r.engine.Load() }

// Activate replaces the engine for all requests that start from now on. Those
// under way finish with the old one.
func (r *Reviewer) Activate(engine *policies.Engine) { r.engine.Store(engine) }

// Interests are all pairs of resource and operation that the active bundle matches.
func (r *Reviewer) Interests() []policies.Interest { return r.Engine().Interests(r.profile) }

// Matches says, without looking at the object, whether any policy is about a
// request's resource and operation.
func (r *Reviewer) Matches(request *Request) bool {
	asked := *request
	r.choose(&asked)
	return r.Engine().Matches(&asked)
}

func (r *Reviewer) choose(request *Request) {
	if r.profile != "" {
		request.Profile = r.profile
	}
}

// Review evaluates the deny and warn rules that match the request.
func (r *Reviewer) Review(ctx context.Context, request Request) Verdict {
	r.choose(&request)
	engine := r.Engine()
	return newVerdict(engine, r.evaluate(ctx, engine, &request, policies.PhaseValidate))
}

// Mutate evaluates the patch rules that match the request and merges what they ask
// for. Patches that contradict each other are a fault.
func (r *Reviewer) Mutate(ctx context.Context, request Request) Verdict {
	r.choose(&request)
	engine := r.Engine()
	result := r.evaluate(ctx, engine, &request, policies.PhaseMutate)
	patched, operations, faults := mergePatches(engine, result.Profile, request.Object, result.Patches)
	result.Faults = append(result.Faults, faults...)
	verdict := newVerdict(engine, result)
	if verdict.Admitted {
		verdict.Patched, verdict.Patch = patched, operations
	}
	return verdict
}

func (r *Reviewer) evaluate(ctx context.Context, engine *policies.Engine, request *Request, phase policies.Phase) policies.Result {
	var facts policies.Facts
	if needs := engine.Needs(request, phase); !needs.Empty() {
		facts = r.facts.Gather(ctx, needs)
	}
	return engine.Evaluate(ctx, request, &facts, r.now(), phase)
}

// mergePatches merges what policies ask for. Those to blame for a failure get a fault, and
// the others their patches.
func mergePatches(engine *policies.Engine, profile string, object []byte, edits []patch.Edit) (patched, operations []byte, faults []policies.Fault) {
	for {
		patched, operations, err := patch.Merge(object, edits)
		if err == nil {
			return patched, operations, faults
		}
		blamed, kind := blame(object, edits, err)
		faults = append(faults, patchFault(engine, profile, blamed, kind, err))
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

// patchFault is the fault of some policies. It denies if that of one of them would.
func patchFault(engine *policies.Engine, profile string, blamed []string, kind policies.FaultKind, err error) policies.Fault {
	fault := policies.Fault{Policy: strings.Join(blamed, ", "), Kind: kind, Message: err.Error()}
	for n, name := range blamed {
		instance, ok := engine.Instance(profile, name)
		own := policies.Fault{FailMode: instance.FailMode, Enforcement: instance.Enforcement}
		if n == 0 || !ok || FaultDenies(own) {
			fault.FailMode, fault.Enforcement = own.FailMode, own.Enforcement
		}
	}
	return fault
}

// newVerdict adds a result up. It admits only when nothing speaks against it.
func newVerdict(engine *policies.Engine, result policies.Result) Verdict {
	verdict := Verdict{
		Admitted:  true,
		Findings:  result.Findings,
		Faults:    result.Faults,
		Undecided: result.Undecided,
		Bundle:    engine.Bundle().Revision(),
		Profile:   result.Profile,
		Matched:   result.Matched,
	}
	if slices.ContainsFunc(result.Findings, Denies) ||
		slices.ContainsFunc(result.Faults, FaultDenies) ||
		slices.ContainsFunc(result.Undecided, UndecidedCounts) {
		verdict.Admitted = false
	}
	return verdict
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
