package policies

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/admission/patch"
	"github.com/portcullis-dev/portcullis/admission/workload"
)

// Result is what a bundle says of a request. It holds facts about the judgement;
// what they add up to is decided by the admission package.
type Result struct {
	// Profile is the name of the profile that applied.
	Profile string
	// Matched counts the instances that were evaluated.
	Matched   int
	Findings  []Finding
	Faults    []Fault
	Undecided []Undecided
	// Patches are what the patch rules ask for, not yet merged.
	Patches []patch.Edit
	// FailsOpen are the policies among those with patches whose faults only warn.
	FailsOpen map[string]bool
	// Responses are the actions that respond rules ask for.
	Responses []Response
	// Permits are what allow_sync rules permit; AskedToPermit says that some that is enforced was asked.
	Permits       []Permit
	AskedToPermit bool
}

// Name says in all findings and faults which bundle they are of.
func (r *Result) Name(bundle string) {
	for n := range r.Findings {
		r.Findings[n].Bundle = bundle
	}
	for n := range r.Faults {
		r.Faults[n].Bundle = bundle
	}
	for n := range r.Undecided {
		r.Undecided[n].Bundle = bundle
	}
	for n := range r.Responses {
		r.Responses[n].Bundle = bundle
	}
	for n := range r.Permits {
		r.Permits[n].Bundle = bundle
	}
}

// Sort puts everything in its one order: the same input always gives the same bytes.
func (r *Result) Sort() {
	slices.SortStableFunc(r.Findings, compareFindings)
	slices.SortFunc(r.Faults, compareFaults)
	slices.SortFunc(r.Undecided, compareUndecided)
	slices.SortStableFunc(r.Patches, comparePatches)
	slices.SortStableFunc(r.Responses, compareResponses)
	slices.SortStableFunc(r.Permits, comparePermits)
}

// Needs says which facts the policies that match a request can read. It looks at the
// object only where one reads evidence about images.
func (e *Engine) Needs(r *Request, phase Phase) Needs {
	var needs Needs
	needNamespace := func() {
		if !r.createsNamespace() { // then its labels are those of the object
			needs.Namespace = r.namespace()
		}
	}
	if e.bundle.Manifest.ProfileLabel != "" && r.Profile == "" {
		needNamespace()
	}
	var all []*instance
	for _, p := range e.possibleProfiles(r) {
		candidates := e.candidates(p, r)
		all = append(all, candidates...)
		for _, i := range candidates {
			if !i.concerns(r, phase) {
				continue
			}
			if i.readsNamespace(phase) {
				needNamespace()
			}
			for _, read := range i.readsFor(r) {
				if !slices.Contains(needs.Reads, read) {
					needs.Reads = append(needs.Reads, read)
				}
			}
		}
	}
	needs.Images = e.imageNeeds(r, phase, all)
	return needs
}

// possibleProfiles are the profiles that may apply: one, unless a label decides.
func (e *Engine) possibleProfiles(r *Request) []*profile {
	if e.bundle.Manifest.ProfileLabel != "" && r.Profile == "" && r.namespace() != "" {
		var all []*profile
		for _, name := range sortedKeys(e.profiles) {
			all = append(all, e.profiles[name])
		}
		return all
	}
	p, err := e.profileFor(r, nil)
	if err != nil {
		return nil // Evaluate reports it
	}
	return []*profile{p}
}

// concerns decides from the request alone.
func (i *instance) concerns(r *Request, phase Phase) bool {
	if phase == PhaseMutate && i.Enforcement != EnforceDeny {
		return false // what only warns or is only recorded changes no object
	}
	return i.policy.at(r.Door) && i.policy.Subject.concerns(r) &&
		slices.ContainsFunc(phase.effects(), i.policy.has) &&
		i.match.matchesRequest(r)
}

func (i *instance) readsNamespace(phase Phase) bool {
	if i.match != nil && i.match.namespaceSelector != nil {
		return true
	}
	return i.reads(phase, "namespace")
}

// lacks names what the request must hold for this policy to find anything and does not:
// a policy asked about nothing objects to nothing. API servers send the object of every
// creation and update and, since 1.15, the old object of every deletion, those of
// collections included.
func (i *instance) lacks(r *Request, phase Phase) string {
	switch {
	case (r.Operation == "CREATE" || r.Operation == "UPDATE") && absent(r.Object):
		return "object"
	case (r.Operation == "UPDATE" || r.Operation == "DELETE") && absent(r.OldObject) && i.reads(phase, "oldObject"):
		return "oldObject"
	}
	return ""
}

// absent says that a request does not hold an object, or holds null in its place.
func absent(raw []byte) bool {
	trimmed := bytes.TrimSpace(raw)
	return len(trimmed) == 0 || string(trimmed) == "null"
}

// reads says whether the policy's rules of a phase read a section of the input.
func (i *instance) reads(phase Phase, section string) bool {
	for _, effect := range phase.effects() {
		if reads := i.unit.reads[effect]; reads != nil && reads.fields[section] != nil {
			return true
		}
	}
	return false
}

func (i *instance) readsFor(r *Request) []Read {
	var reads []Read
	for _, declared := range i.policy.Reads {
		read := Read{Group: declared.Group, Resource: declared.Resource}
		if declared.Scope == "namespace" {
			read.Namespace = r.namespace()
		}
		reads = append(reads, read)
	}
	if i.unit.incidents {
		reads = append(reads, incidentReads...)
	}
	return reads
}

// Evaluate judges a request. It reads nothing but its arguments, and now is the only
// clock: exceptions expire by it, and policies see it cut to the minute. It returns before the deadline of ctx plus a few
// milliseconds; what could not be evaluated by then is a fault.
func (e *Engine) Evaluate(ctx context.Context, r *Request, facts *Facts, now time.Time, phase Phase) Result {
	j := &judgement{engine: e, request: r, facts: facts, now: now.UTC().Truncate(time.Minute), clock: now, phase: phase}
	if shape, err := newRequestShape(r, nil); err == nil {
		j.shape = *shape
	}
	j.judge(ctx)
	j.finish()
	return j.result
}

// judgement is one run of Evaluate.
type judgement struct {
	engine  *Engine
	request *Request
	facts   *Facts
	now     time.Time // for policies, cut to the minute
	clock   time.Time // for exceptions
	phase   Phase
	result  Result
	// exhausted are policies that took more time than they had. They have their fault,
	// and shall not cost the other workloads of the object their time too.
	exhausted []*instance
	// shape is the request as guards and the memo read it, without its options.
	shape requestShape
	// recording is what to remember of the workload at hand, nil for nothing.
	recording    memoEntry
	recordingKey memoKey
}

func (j *judgement) judge(ctx context.Context) {
	selected, ok := j.selectInstances()
	if !ok || len(selected) == 0 {
		return
	}
	defer func() { j.judgeSync(selected) }()
	p, err := j.engine.plan(j.phase, selected)
	if err != nil {
		j.fault(nil, FaultError, err.Error())
		return
	}
	workloads, ok := j.workloads(ctx, p)
	if !ok {
		return
	}
	if len(workloads) == 0 {
		j.judgeWorkload(ctx, p, nil)
		return
	}
	last := len(workloads) - 1
	for n := range workloads[:last] {
		// A policy that takes all of its time does so once, so that half of the rest is
		// always enough for the others.
		half, cancel := ShareOf(ctx, 2)
		j.judgeWorkload(half, p, &workloads[n])
		cancel()
	}
	j.judgeWorkload(ctx, p, &workloads[last])
}

// selectInstances finds the instances to evaluate; ok is false when that alone
// failed.
func (j *judgement) selectInstances() (selected []*instance, ok bool) {
	e, r := j.engine, j.request
	j.facts = withNewNamespace(r, j.facts)
	if e.bundle.Manifest.ProfileLabel != "" && r.Profile == "" && r.namespace() != "" && j.facts.Namespace == nil {
		j.missing(nil, "the labels of namespace "+r.namespace()+", which name its profile: "+j.facts.NamespaceMissing)
		return nil, false
	}
	p, err := e.profileFor(r, j.facts.Namespace)
	if err != nil {
		j.fault(nil, FaultFacts, err.Error())
		return nil, false
	}
	j.result.Profile = p.name
	var labels objectLabels
	for _, i := range e.candidates(p, r) {
		if !i.concerns(r, j.phase) || j.phase == PhaseMutate && i.enforcementAt(j.clock) != EnforceDeny {
			continue
		}
		if path := i.redacted(r, j.phase); path != "" {
			j.undecided(i, i.enforcementAt(j.clock), "not replayable: it can read "+path+", which the journal does not keep", path)
			continue
		}
		if lacking := i.lacks(r, j.phase); lacking != "" {
			j.fault(i, FaultInput, "the request has no "+lacking+", which one to "+r.Operation+" must have: nothing can be judged")
			continue
		}
		if i.readsNamespace(j.phase) && r.namespace() != "" && j.facts.Namespace == nil {
			j.missing(i, "the labels of namespace "+r.namespace()+": "+j.facts.NamespaceMissing)
			continue
		}
		if i.match.selects() {
			if err := labels.read(r); err != nil {
				j.fault(i, FaultInput, err.Error())
				continue
			}
			if !i.match.matchesNamespace(j.facts.Namespace) || !i.match.matchesObject(&labels) {
				continue
			}
		}
		selected = append(selected, i)
	}
	j.result.Matched = len(selected)
	return selected, true
}

// workloads extracts the normal forms, if anybody reads one.
func (j *judgement) workloads(ctx context.Context, p *plan) ([]workload.Workload, bool) {
	// A policy about workloads is evaluated for each one even if it reads only the
	// raw object or the request.
	needsWorkload := func(i *planned) bool { return i.readsWorkload() || i.policy.Subject.Workload != "" }
	if !slices.ContainsFunc(p.instances, needsWorkload) || len(j.request.Object) == 0 {
		return nil, true
	}
	found, err := j.engine.extract(j.request, j.request.Object)
	if err != nil {
		for _, i := range p.instances {
			if needsWorkload(i) {
				j.fault(i.instance, FaultInput, err.Error())
			}
		}
		// Policies that do not look at the pod are judged all the same.
		return nil, j.keepOnly(ctx, p, func(i *planned) bool { return !needsWorkload(i) })
	}
	return found, true
}

// keepOnly evaluates a part of the plan without a workload and reports false, so
// that the caller is done.
func (j *judgement) keepOnly(ctx context.Context, p *plan, keep func(*planned) bool) bool {
	var rest []*instance
	for _, i := range p.instances {
		if keep(i) {
			rest = append(rest, i.instance)
		}
	}
	if len(rest) > 0 {
		smaller, err := j.engine.plan(j.phase, rest)
		if err != nil {
			j.fault(nil, FaultError, err.Error())
			return false
		}
		j.judgeWorkload(ctx, smaller, nil)
	}
	return false
}

// judgeWorkload evaluates the plan for one workload, nil where the object has none.
func (j *judgement) judgeWorkload(ctx context.Context, p *plan, w *workload.Workload) {
	known := j.recall(p, w)
	defer j.memorise()
	p, err := j.narrow(p, w, known)
	if err != nil {
		j.recording = nil
		j.fault(nil, FaultError, err.Error())
		return
	}
	if len(p.instances) == 0 {
		return
	}
	if p, err = j.withEvidence(p, w); err != nil {
		j.recording = nil
		j.fault(nil, FaultError, err.Error())
		return
	}
	if len(p.instances) == 0 {
		return
	}
	in, err := j.newInput(p, j.request, w)
	if err != nil {
		j.recording = nil
		j.oneByOne(ctx, p, w, nil) // whoever does not read what is unreadable is judged
		return
	}
	skip := j.unchanged(p, w, in)
	if len(skip) == len(p.instances) {
		return
	}
	// Half of the time is kept to find out who is to blame should it not suffice.
	half, cancel := ShareOf(ctx, 2)
	result, err := j.engine.run(half, p, in)
	cancel()
	if err != nil {
		j.recording = nil
		j.oneByOne(ctx, p, w, skip)
		return
	}
	for n, i := range p.instances {
		if !skip[n] {
			j.collect(i, w, result)
		}
	}
}

// narrow leaves out of a plan what needs no evaluation for this workload: policies
// about workloads where there is none, policies whose outcome an unresolved field
// leaves open, policies whose findings are known already, and policies whose guard
// tells that they cannot find anything.
func (j *judgement) narrow(p *plan, w *workload.Workload, known bool) (*plan, error) {
	rest := make([]*instance, 0, len(p.instances))
	var guards *guardRun
	incidents, told := j.knownIncidents(p)
	if w != nil {
		guards = newGuardRun(w, &j.shape, &incidents)
	}
	for _, i := range p.instances {
		switch {
		case known && i.memo:
		case slices.Contains(j.exhausted, i.instance):
		// What is deleted has no workload to look into, and is judged all the same.
		case i.policy.Subject.Workload != "" && w == nil && len(j.request.Object) > 0:
		case w != nil && len(w.Unresolved) > 0 && j.unresolved(i, w):
		case i.unit.incidents && !told:
			rest = append(rest, i.instance)
		case w != nil && !j.engine.unguarded && !i.mayFind(guards, p.phase):
		default:
			rest = append(rest, i.instance)
		}
	}
	if len(rest) == len(p.instances) {
		return p, nil
	}
	return j.engine.plan(p.phase, rest)
}

// mayFind asks the guards of the policy's rules. A policy that reads other objects
// is always evaluated: that it finds nothing may be for want of facts.
func (i *instance) mayFind(run *guardRun, phase Phase) bool {
	if len(i.policy.Reads) > 0 {
		return true
	}
	for _, effect := range phase.effects() {
		if i.policy.has(effect) && i.unit.guards[effect].mayFind(run) {
			return true
		}
	}
	return false
}

// unchanged are the instances of a plan that an update does not concern: nothing
// that the policy reads of the object has changed, and what runs is the same. So an
// object that was admitted is not denied again for a finalizer, a label or a scale.
func (j *judgement) unchanged(p *plan, w *workload.Workload, in *input) map[int]bool {
	if j.request.Operation != "UPDATE" || len(j.request.OldObject) == 0 {
		return nil
	}
	old, before := j.oldInput(p, w)
	if old == nil {
		return nil
	}
	runsOther := w != nil && !runsTheSame(w, before)
	skip := map[int]bool{}
	for n, i := range p.instances {
		if runsOther && (i.readsWorkload() || i.policy.Subject.Workload != "") {
			continue
		}
		if i.readsObject() && i.reads.fields["oldObject"] == nil && !changed(i.reads, in, old) {
			skip[n] = true
		}
	}
	return skip
}

// readsObject says whether the policy reads anything of the object at all.
func (p *planned) readsObject() bool {
	return p.readsWorkload() || p.reads.fields["object"] != nil
}

// newInput is the input of a plan for one workload of a request, nil where there is none.
func (j *judgement) newInput(p *plan, r *Request, w *workload.Workload) (*input, error) {
	return p.newInput(r, w, j.facts, j.engine.bundle.trust, j.now, j.clock)
}

// oldInput is the input that the old object would give and the workload in it, nil
// when it cannot be compared (then everything counts as changed).
func (j *judgement) oldInput(p *plan, w *workload.Workload) (*input, *workload.Workload) {
	old := *j.request
	old.Object, old.OldObject = j.request.OldObject, nil
	var before *workload.Workload
	if w != nil {
		found, err := j.engine.extract(&old, old.Object)
		if err != nil {
			return nil, nil
		}
		at := slices.IndexFunc(found, func(o workload.Workload) bool { return o.Path == w.Path })
		if at < 0 {
			return nil, nil
		}
		before = &found[at]
	}
	in, err := j.newInput(p, &old, before)
	if err != nil {
		return nil, nil
	}
	return in, before
}

// unresolved reports a policy that reads what the manifest leaves open.
func (j *judgement) unresolved(i *planned, w *workload.Workload) bool {
	for _, open := range w.Unresolved {
		if i.readsOpen(w, open.Path) {
			j.unknown(i.instance, w.Template, fmt.Sprintf("%s is %s: %s", open.Path, open.Expression, open.Reason), open.Path)
			return true
		}
	}
	return false
}

// oneByOne evaluates each policy on its own after the query for all of them has
// failed, so that a fault costs the policy that causes it and no other. Each gets
// its share of the time that is left. skip is nil where it is not known whom an update
// concerns.
func (j *judgement) oneByOne(ctx context.Context, p *plan, w *workload.Workload, skip map[int]bool) {
	for n, i := range p.instances {
		if skip[n] {
			continue
		}
		alone, err := j.engine.single(p, i.instance)
		if err != nil {
			j.fault(i.instance, FaultError, err.Error())
			continue
		}
		in, err := j.newInput(alone, j.request, w)
		if err != nil {
			j.fault(i.instance, FaultInput, err.Error())
			continue
		}
		if skip == nil && j.unchanged(alone, w, in)[0] {
			continue
		}
		share, cancel := ShareOf(ctx, len(p.instances)-n)
		result, err := j.engine.run(share, alone, in)
		cancel()
		if err != nil {
			kind := faultKind(err)
			if kind == FaultDeadline {
				j.exhausted = append(j.exhausted, i.instance)
			}
			j.fault(i.instance, kind, err.Error())
			continue
		}
		j.collect(alone.instances[0], w, result)
	}
}

// ShareOf gives an equal share of the time left to each of n, so that one that is slow takes none of the others'. Without a
// deadline a share is two seconds.
func ShareOf(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, defaultShare)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(max(n, 1)))
}

// defaultShare bounds a single policy where the caller set no deadline.
const defaultShare = 2 * time.Second

// collect takes an instance's results out of a query's result.
func (j *judgement) collect(i *planned, w *workload.Workload, result resultSet) {
	if (j.phase == PhaseMutate || j.phase == PhaseRespond) && j.partial(i.instance, nil) {
		return
	}
	var findings []Finding
	for _, rule := range i.results {
		term := result[rule.variable]
		if rule.effect == EffectPatch {
			patches, err := decodePatches(i.Name, term)
			if err != nil {
				j.fault(i.instance, FaultError, err.Error())
			}
			j.result.Patches = append(j.result.Patches, patches...)
			if i.FailMode == FailOpen && len(patches) > 0 {
				if j.result.FailsOpen == nil {
					j.result.FailsOpen = map[string]bool{}
				}
				j.result.FailsOpen[i.Name] = true
			}
			continue
		}
		if rule.effect == EffectAllowSync {
			j.permit(i, term)
			continue
		}
		if rule.effect == EffectRespond {
			j.respond(i, term, func(f *Finding) { j.waiver().except(w, f) })
			continue
		}
		decoded, err := decodeFindings(i.instance, rule.effect, term)
		if err != nil {
			j.recording = nil
			j.fault(i.instance, FaultError, err.Error())
		}
		findings = append(findings, decoded...)
	}
	if i.memo && j.recording != nil && len(findings) > 0 {
		j.recording[i.number] = findings
	}
	j.report(i.instance, w, findings)
}

// report takes an instance's findings into the result, unless missing facts leave
// it undecided.
func (j *judgement) report(i *instance, w *workload.Workload, findings []Finding) {
	findings = slices.Clone(findings) // the memo keeps them as they are
	for n := range findings {
		findings[n].Enforcement = max(findings[n].Enforcement, i.enforcementAt(j.clock))
		findings[n].Message += i.forecast(j.clock, findings[n].Effect)
		j.waiver().except(w, &findings[n])
	}
	if !j.partial(i, findings) {
		j.result.Findings = append(j.result.Findings, findings...)
	}
}

// recall reports what is remembered of a workload and says whether anything is;
// if not, it begins to record. Updates are left to [judgement.unchanged].
func (j *judgement) recall(p *plan, w *workload.Workload) bool {
	if w == nil || !p.remembers || len(w.Unresolved) > 0 || len(j.request.OldObject) > 0 || j.engine.unguarded {
		return false
	}
	j.recordingKey = p.memoKeyFor(w, &j.shape)
	entry, known := j.engine.memo.get(j.recordingKey)
	if !known {
		if len(j.exhausted) == 0 { // they are left out, and their silence says nothing
			j.recording = memoEntry{}
		}
		return false
	}
	for _, i := range p.instances {
		if i.memo {
			j.report(i.instance, w, entry[i.number])
		}
	}
	return true
}

// memorise ends a recording. A workload that some policy failed on is forgotten.
func (j *judgement) memorise() {
	if j.recording != nil {
		j.engine.memo.add(j.recordingKey, j.recording)
		j.recording = nil
	}
}

// partial handles a policy some of whose reads are incomplete: it is undecided
// unless what is missing could not change the outcome. What a policy promises of
// further objects is about its findings, not about its patches.
func (j *judgement) partial(i *instance, findings []Finding) bool {
	stands := func(f Finding) bool { return f.ExceptedBy == "" }
	// A warning stands whatever else there is, but a denial could join it.
	decides := func(f Finding) bool {
		return stands(f) && (f.Effect == EffectDeny || !i.policy.has(EffectDeny))
	}
	for n, read := range i.readsFor(j.request) {
		reason, incomplete := j.facts.Partial[read]
		if !incomplete {
			continue
		}
		more := "denies" // of further incidents
		if n < len(i.policy.Reads) {
			more = i.policy.Reads[n].More
		}
		switch {
		case j.phase != PhaseValidate: // of a sync, too: what permits must know all
		case more == "allows" && !slices.ContainsFunc(findings, stands),
			more == "denies" && slices.ContainsFunc(findings, decides):
			continue
		}
		what := read.Resource
		if read.Group != "" {
			what += "." + read.Group
		}
		j.missing(i, fmt.Sprintf("%s in %s: %s", what, scopeName(read), reason))
		return true
	}
	return false
}

func scopeName(read Read) string {
	if read.Namespace == "" {
		return "the cluster"
	}
	return "namespace " + read.Namespace
}

// missing reports facts that are not available.
func (j *judgement) missing(i *instance, what string) {
	j.unknownOr(i, FaultFacts, "cannot know "+what, "")
}

// unknown reports a field that is left open. Where something runs that is a fault,
// but not in a template: the pods it makes come to the same door with the field
// filled in, and refusing every workflow with a parameter would help nobody.
func (j *judgement) unknown(i *instance, template bool, why, path string) {
	if template && j.request.Door != DoorGate {
		j.undecided(i, max(i.enforcementAt(j.clock), EnforceWarn), why, path)
		return
	}
	j.unknownOr(i, FaultInput, why, path)
}

// unknownOr reports what cannot be known: undecided at the gate, a fault where
// something runs.
func (j *judgement) unknownOr(i *instance, kind FaultKind, why, path string) {
	if j.request.Door != DoorGate {
		j.fault(i, kind, why)
		return
	}
	var enforcement Enforcement
	if i != nil {
		enforcement = i.enforcementAt(j.clock)
	}
	j.undecided(i, enforcement, why, path)
}

func (j *judgement) undecided(i *instance, enforcement Enforcement, why, path string) {
	undecided := Undecided{Reason: why, Path: path, Enforcement: enforcement}
	if i != nil {
		undecided.Policy = i.policy.ID
	}
	j.result.Undecided = append(j.result.Undecided, undecided)
}

func (j *judgement) fault(i *instance, kind FaultKind, message string) {
	fault := Fault{Kind: kind, Message: message}
	if i != nil {
		fault.Policy, fault.FailMode, fault.Enforcement = i.policy.ID, i.FailMode, i.enforcementAt(j.clock)
	}
	j.result.Faults = append(j.result.Faults, fault)
}

// finish sorts everything and drops what several pod templates of one object gave
// twice: the same input always gives the same bytes.
func (j *judgement) finish() {
	j.result.Sort()
	j.result.Findings = slices.CompactFunc(j.result.Findings, func(a, b Finding) bool {
		return compareFindings(a, b) == 0 && a.ExceptedBy == b.ExceptedBy
	})
	j.result.Faults = slices.Compact(j.result.Faults)
	j.result.Undecided = slices.Compact(j.result.Undecided)
}
