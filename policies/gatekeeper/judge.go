package gatekeeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/portcullis-dev/portcullis/policies"
	kjson "sigs.k8s.io/json"
)

// subresources are those that Gatekeeper's webhook is configured for, and pods/resize, by which a pod changes too.
var subresources = []string{
	"pods/ephemeralcontainers", "pods/resize", "pods/exec", "pods/log", "pods/eviction", "pods/portforward", "pods/proxy",
	"pods/attach", "pods/binding", "deployments/scale", "replicasets/scale", "statefulsets/scale",
	"replicationcontrollers/scale", "services/proxy", "nodes/proxy", "services/status",
}

// judged says whether requests for a resource, with its subresource, are judged at all.
func judged(r *policies.Request) bool {
	return r.SubResource == "" || slices.Contains(subresources, r.Resource.Resource+"/"+r.SubResource)
}

// Matches says whether any constraint or mutator is about a request's kind and operation.
func (e *Engine) Matches(r *policies.Request) bool {
	return judged(r) && e.inScope(r) && (len(e.candidates(r)) > 0 || len(e.mutatorsFor(r)) > 0)
}

// inScope says whether a tenant's policies have a say.
func (e *Engine) inScope(r *policies.Request) bool {
	return !e.options.Tenant || r.Scope() != ""
}

// candidates are the constraints that may concern a request, or what ExpansionTemplates make of its object.
func (e *Engine) candidates(r *policies.Request) []*constraint {
	if !judged(r) || !e.inScope(r) || e.config.excludes(processOf(r.Door), r.Scope()) {
		return nil
	}
	kinds := e.kindsOf(gvk(r.Kind), r)
	var found []*constraint
	for _, c := range e.constraints {
		if _, asked := c.enforced[r.Door]; !asked || !c.template.judges(r.Operation) {
			continue
		}
		if slices.ContainsFunc(kinds, func(k gvk) bool { return c.match.matchesKind(k.Group, k.Kind) }) {
			found = append(found, c)
		}
	}
	return found
}

// kindsOf are the kind of a request and those that are made of its object.
func (e *Engine) kindsOf(kind gvk, r *policies.Request) []gvk {
	kinds := []gvk{kind}
	if r.SubResource != "" || r.Operation == "DELETE" {
		return kinds
	}
	for n := 0; n < len(kinds); n++ {
		for _, x := range e.expansions {
			if x.takes(kinds[n]) && !slices.Contains(kinds, x.generated) {
				kinds = append(kinds, x.generated)
			}
		}
	}
	return kinds
}

// mutatorsFor are the mutators that may change the object of a request.
func (e *Engine) mutatorsFor(r *policies.Request) []*mutator {
	if r.SubResource != "" || r.Operation != "CREATE" && r.Operation != "UPDATE" || !e.inScope(r) || e.config.excludes(processMutation, r.Scope()) {
		return nil
	}
	var found []*mutator
	for _, m := range e.mutators {
		if m.takes(gvk(r.Kind), r.Operation) {
			found = append(found, m)
		}
	}
	return found
}

// Needs are the labels of the namespace, where one decides by them, and the objects of the inventory.
func (e *Engine) Needs(r *policies.Request, phase policies.Phase) policies.Needs {
	var needs policies.Needs
	if phase == policies.PhaseRespond || phase == policies.PhaseSync {
		return needs
	}
	needNamespace := func() {
		if !isNamespaceRequest(r) {
			needs.Namespace = r.Scope()
		}
	}
	if phase == policies.PhaseMutate {
		for _, m := range e.mutatorsFor(r) {
			if m.match.namespaceLabels != nil {
				needNamespace()
			}
		}
		return needs
	}
	for _, c := range e.candidates(r) {
		if c.match.namespaceLabels != nil || c.template.reads.namespaceObject {
			needNamespace()
		}
		for _, kind := range c.template.reading {
			if read := e.readOf(kind, r); !slices.Contains(needs.Reads, read) {
				needs.Reads = append(needs.Reads, read)
			}
		}
	}
	if len(e.expansions) > 0 && slices.ContainsFunc(e.mutators, func(m *mutator) bool { return m.match.namespaceLabels != nil }) && len(e.kindsOf(gvk(r.Kind), r)) > 1 {
		needNamespace()
	}
	return needs
}

// readOf is the read that gives all objects of a kind that the inventory may hold.
func (e *Engine) readOf(kind gvk, r *policies.Request) policies.Read {
	resource := resourceOf(kind)
	read := policies.Read{Group: resource.Group, Resource: resource.Resource}
	if e.options.Tenant {
		read.Namespace = r.Scope()
	}
	return read
}

func isNamespaceRequest(r *policies.Request) bool {
	return r.Kind.Group == "" && r.Kind.Kind == "Namespace"
}

// Interests are all pairs of resource and operation that constraints and mutators match at the admission door, the same
// in all profiles.
func (e *Engine) Interests(string) []policies.Interest {
	var interests []policies.Interest
	add := func(resources []resource, operations []string, interest policies.Interest) {
		for _, resource := range resources {
			for _, operation := range operations {
				if resource.subresource && (operation == "CREATE" || interest.Mutates) {
					continue
				}
				interest.Group, interest.Resource, interest.Operation = resource.group, resource.name, operation
				interests = append(interests, interest)
			}
		}
	}
	for _, c := range e.constraints {
		enforcement, asked := c.enforced[policies.DoorAdmission]
		if !asked {
			continue
		}
		operations := c.template.operations
		if slices.Contains(operations, "*") {
			operations = []string{"CREATE", "UPDATE", "DELETE", "CONNECT"}
		}
		add(e.judgedResources(c.match.Kinds), operations, policies.Interest{Validates: true, FailClosed: enforcement == policies.EnforceDeny})
	}
	for _, m := range e.mutators {
		for _, operation := range []string{"CREATE", "UPDATE"} {
			add(resourcesOf(m.kinds(operation)), []string{operation}, policies.Interest{Mutates: true, FailClosed: true})
		}
	}
	return policies.MergeInterests(interests)
}

// kinds are those that a mutator is for on an operation; an empty selector is all.
func (m *mutator) kinds(operation string) []kindSelector {
	if m.applyTo == nil {
		if len(m.match.Kinds) == 0 {
			return []kindSelector{{}}
		}
		return m.match.Kinds
	}
	var kinds []kindSelector
	for _, a := range m.applyTo {
		if a.takesOperation(operation) {
			kinds = append(kinds, kindSelector{a.Groups, a.Kinds})
		}
	}
	return kinds
}

// resource is what a kind is served under.
type resource struct {
	group, name string
	subresource bool
}

// judgedResources are the resources that selectors of kinds mean, none being all, and those that expand to them.
func (e *Engine) judgedResources(selectors []kindSelector) []resource {
	if len(selectors) == 0 {
		selectors = []kindSelector{{}}
	}
	selectors = slices.Clone(selectors)
	expanded := map[*expansion]bool{}
	for n := 0; n < len(selectors); n++ { // what expands to an expansion is appended
		s := selectors[n]
		for _, x := range e.expansions {
			if expanded[x] || !selects(s.APIGroups, x.generated.Group) || !selects(s.Kinds, x.generated.Kind) {
				continue
			}
			expanded[x] = true
			for _, a := range x.applyTo {
				selectors = append(selectors, kindSelector{a.Groups, a.Kinds})
			}
		}
	}
	return resourcesOf(selectors)
}

// resourcesOf are the resources that selectors of kinds mean, with the subresources by which a pod changes.
func resourcesOf(selectors []kindSelector) []resource {
	var found []resource
	for _, s := range selectors {
		for _, group := range orAll(s.APIGroups) {
			for _, kind := range orAll(s.Kinds) {
				name := "*"
				if kind != "*" {
					name = resourceOf(gvk{Group: group, Kind: kind}).Resource
				}
				found = append(found, resource{group: group, name: name})
				if (group == "" || group == "*") && (kind == "*" || kind == "Pod") {
					found = append(found, resource{"", "pods/ephemeralcontainers", true}, resource{"", "pods/resize", true})
				}
			}
		}
	}
	return found
}

func orAll(list []string) []string {
	if len(list) == 0 || slices.Contains(list, "*") {
		return []string{"*"}
	}
	return list
}

// judgement is one run of Evaluate.
type judgement struct {
	engine      *Engine
	request     *policies.Request
	facts       *policies.Facts
	now         time.Time
	result      policies.Result
	inventories map[*template]*ast.Term
}

// Evaluate judges the object of a request, and what ExpansionTemplates make of it, or gives the patches of the mutators. It
// reads nothing but its arguments; now is the only clock.
func (e *Engine) Evaluate(ctx context.Context, r *policies.Request, facts *policies.Facts, now time.Time, phase policies.Phase) policies.Result {
	switch phase {
	case policies.PhaseMutate:
		return e.patch(r, facts)
	case policies.PhaseRespond, policies.PhaseSync: // Gatekeeper has no word for them
		return policies.Result{}
	}
	candidates := e.candidates(r)
	if len(candidates) == 0 {
		return policies.Result{}
	}
	j := &judgement{engine: e, request: r, facts: facts, now: now.UTC()}
	j.judge(ctx, candidates, newReview(r, namespaceOf(r, facts)))
	if e.options.Waive != nil {
		e.options.Waive(r, facts, now, j.result.Findings)
	}
	j.result.Sort()
	return j.result
}

// namespaceOf is what is known of the namespace of a request.
func namespaceOf(r *policies.Request, facts *policies.Facts) *policies.Namespace {
	if isNamespaceRequest(r) {
		return nil // it is the object
	}
	return facts.Namespace
}

// judge asks the constraints about a review and about what its object expands to.
func (j *judgement) judge(ctx context.Context, candidates []*constraint, base *review) {
	if lacking := base.lacks(); lacking != "" {
		j.all(candidates, policies.FaultInput, fmt.Sprintf("the request has no %s, which one to %s must have: nothing can be judged", lacking, j.request.Operation))
		return
	}
	if err := base.readSubjects(); err != nil {
		j.all(candidates, policies.FaultInput, err.Error())
		return
	}
	reviews := []*review{base}
	if made, err := j.engine.expand(base); err != nil {
		j.expansionFault(err)
	} else {
		reviews = append(reviews, made...)
	}
	type asked struct {
		constraint *constraint
		review     *review
	}
	var all []asked
	for _, r := range reviews {
		for _, c := range candidates {
			matched, err := r.matches(&c.match)
			switch {
			case err != nil:
				j.result.Matched++
				j.unknown(c, r, "the labels of namespace "+r.request.Scope()+": "+j.facts.NamespaceMissing)
			case matched:
				all = append(all, asked{c, r})
				r.reading(&c.template.reads)
			}
		}
	}
	for n, one := range all {
		j.result.Matched++
		share, cancel := policies.ShareOf(ctx, len(all)-n)
		j.ask(share, one.constraint, one.review)
		cancel()
	}
}

// ask evaluates one constraint on one review.
func (j *judgement) ask(ctx context.Context, c *constraint, r *review) {
	if path := c.template.reads.redacted(j.request); path != "" {
		j.undecided(c, r, "not replayable: it can read "+path+", which the journal does not keep", path)
		return
	}
	if c.template.reads.namespaceObject && r.namespace == nil && r.request.Namespace != "" {
		j.unknown(c, r, "the namespace "+r.request.Namespace+": "+j.facts.NamespaceMissing)
		return
	}
	inventory, ok := j.inventory(c, r)
	if !ok {
		return
	}
	value, err := r.value()
	if err != nil {
		j.fault(c, r, policies.FaultInput, err.Error())
		return
	}
	members := [][2]*ast.Term{{reviewKey, value}, {parametersKey, c.parameters}}
	if inventory != nil {
		members = append(members, [2]*ast.Term{inventoryKey, inventory})
	}
	violations, err := c.template.evaluate(ctx, ast.ObjectTerm(members...), j.now)
	if err != nil {
		j.fault(c, r, faultKind(err), err.Error())
		return
	}
	findings, err := c.findings(violations)
	if err != nil {
		j.fault(c, r, policies.FaultError, err.Error())
	}
	for n := range findings {
		findings[n].Enforcement = j.enforcement(c, r)
		if r.implied != nil {
			findings[n].Message = policies.Shorten(r.implied.impliedBy(findings[n].Message))
		}
	}
	j.result.Findings = append(j.result.Findings, findings...)
}

var parametersKey = ast.StringTerm("parameters")

// inventory is what a template sees of the cluster, nil where it does not look; ok is false when that is not known.
func (j *judgement) inventory(c *constraint, r *review) (inventory *ast.Term, ok bool) {
	t := c.template
	if t.inventory == nil {
		return nil, true
	}
	for _, kind := range t.reading {
		read := j.engine.readOf(kind, j.request)
		if why, partial := j.facts.Partial[read]; partial {
			j.unknown(c, r, "all "+read.Resource+" of the cluster: "+why)
			return nil, false
		}
	}
	if known := j.inventories[t]; known != nil {
		return known, true
	}
	held := make([]policies.Object, 0, len(j.facts.Cluster))
	for n := range j.facts.Cluster {
		if j.holds(t, &j.facts.Cluster[n]) {
			held = append(held, j.facts.Cluster[n])
		}
	}
	made, err := t.built.inventory(held, j.engine.decoded)
	if err != nil {
		j.fault(c, r, policies.FaultFacts, "reading the inventory: "+err.Error())
		return nil, false
	}
	if j.inventories == nil {
		j.inventories = map[*template]*ast.Term{}
	}
	j.inventories[t] = made
	return made, true
}

// holds says whether an object is in the inventory of a template: its kind is declared, and its namespace not excluded.
// Versions are not compared: there is one object, under whichever version the API server gives it.
func (j *judgement) holds(t *template, o *policies.Object) bool {
	if j.engine.config.excludes(processSync, o.Namespace) || j.engine.options.Tenant && o.Namespace != j.request.Scope() {
		return false
	}
	return slices.ContainsFunc(t.reading, func(k gvk) bool { return k.Group == o.Group && k.Kind == o.Kind })
}

// enforcement is what becomes of a constraint's violations here.
func (j *judgement) enforcement(c *constraint, r *review) policies.Enforcement {
	if r.implied != nil && r.implied.enforcement != nil {
		return *r.implied.enforcement
	}
	return c.enforced[j.request.Door]
}

func (j *judgement) fault(c *constraint, r *review, kind policies.FaultKind, message string) {
	j.result.Faults = append(j.result.Faults, policies.Fault{
		Policy: c.reference(), Kind: kind, Message: "constraint " + c.name + ": " + message, Enforcement: j.enforcement(c, r),
	})
}

// all makes a fault of every constraint.
func (j *judgement) all(candidates []*constraint, kind policies.FaultKind, message string) {
	for _, c := range candidates {
		j.result.Matched++
		j.fault(c, &review{}, kind, message)
	}
}

// unknown reports facts that are not available: undecided at the gate, a fault where something runs.
func (j *judgement) unknown(c *constraint, r *review, what string) {
	if j.request.Door == policies.DoorGate {
		j.undecided(c, r, "cannot know "+what, "")
		return
	}
	j.fault(c, r, policies.FaultFacts, "cannot know "+what)
}

func (j *judgement) undecided(c *constraint, r *review, reason, path string) {
	j.result.Undecided = append(j.result.Undecided, policies.Undecided{
		Policy: c.reference(), Reason: reason, Path: path, Enforcement: j.enforcement(c, r),
	})
}

// expansionFault says that what a workload will make is not known. That is nobody's constraint, and denies.
func (j *judgement) expansionFault(err error) {
	fault := policies.Fault{Policy: "gatekeeper/expansion", Kind: policies.FaultError, Message: err.Error()}
	if errors.Is(err, errNamespaceUnknown) {
		fault.Kind = policies.FaultFacts
	}
	j.result.Faults = append(j.result.Faults, fault)
}

// errPanic is a panic of the evaluator.
var errPanic = errors.New("the evaluator panicked")

// evaluate gives the violations of an input.
func (t *template) evaluate(ctx context.Context, input *ast.Term, now time.Time) (violations ast.Value, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v", errPanic, cause)
		}
	}()
	cancel := topdown.NewCancel()
	defer context.AfterFunc(ctx, cancel.Cancel)()
	if ctx.Err() != nil {
		cancel.Cancel()
	}
	err = topdown.NewQuery(t.query).
		WithCompiler(t.compiler).
		WithInput(input).
		WithCancel(cancel).
		WithTime(now).
		Iter(ctx, func(result topdown.QueryResult) error {
			if term := result[violationVariable]; term != nil {
				violations = term.Value
			}
			return nil
		})
	return violations, err
}

func faultKind(err error) policies.FaultKind {
	switch {
	case topdown.IsCancel(err), errors.Is(err, context.DeadlineExceeded):
		return policies.FaultDeadline
	case errors.Is(err, errPanic):
		return policies.FaultPanic
	}
	return policies.FaultError
}

// takesObject says whether a mutator is for an object as it is by now, after other mutators.
func (e *Engine) takesObject(m *mutator, r *review, operation string, object map[string]any) (bool, error) {
	if !m.takes(gvk(r.request.Kind), operation) {
		return false, nil
	}
	s, err := subjectOf(object, r)
	if err != nil {
		return false, err
	}
	return m.match.matches(s)
}

// subjectOf is an object as matching needs it.
func subjectOf(object map[string]any, r *review) (*subject, error) {
	raw, err := json.Marshal(map[string]any{"metadata": object["metadata"]})
	if err != nil {
		return nil, err
	}
	one := &review{request: r.request, object: raw, namespace: r.namespace, source: r.source}
	if err := one.readSubjects(); err != nil {
		return nil, err
	}
	return &one.subjects[0], nil
}

// patch gives what the mutators change.
func (e *Engine) patch(r *policies.Request, facts *policies.Facts) policies.Result {
	mutators := e.mutatorsFor(r)
	if len(mutators) == 0 {
		return policies.Result{}
	}
	result := policies.Result{Matched: len(mutators)}
	failed := func(policy string, kind policies.FaultKind, message string) policies.Result {
		result.Faults = append(result.Faults, policies.Fault{Policy: policy, Kind: kind, Message: message})
		return result
	}
	if absent(r.Object) {
		return failed("gatekeeper/mutation", policies.FaultInput, "the request has no object, which one to "+r.Operation+" must have: nothing can be changed")
	}
	var before, after map[string]any
	for _, into := range []*map[string]any{&before, &after} {
		if err := kjson.UnmarshalCaseSensitivePreserveInts(r.Object, into); err != nil {
			return failed("gatekeeper/mutation", policies.FaultInput, "reading the object: "+err.Error())
		}
	}
	base := newReview(r, namespaceOf(r, facts))
	changing, err := mutate(mutators, after, func(m *mutator, object map[string]any) (bool, error) {
		return e.takesObject(m, base, r.Operation, object)
	})
	if errors.Is(err, errNamespaceUnknown) && r.Door == policies.DoorGate {
		result.Undecided = append(result.Undecided, policies.Undecided{Policy: blame(err), Reason: err.Error()})
		return result
	}
	if err != nil {
		return failed(blame(err), mutationFault(err), err.Error())
	}
	policy := "gatekeeper/mutation"
	if len(changing) == 1 {
		policy = changing[0].id
	}
	result.Patches = edits(policy, before, after)
	return result
}

// blame names the mutator that an error is of.
func blame(err error) string {
	var failed *mutatorError
	if errors.As(err, &failed) {
		return failed.mutator.id
	}
	return "gatekeeper/mutation"
}

func mutationFault(err error) policies.FaultKind {
	switch {
	case errors.Is(err, errNamespaceUnknown):
		return policies.FaultFacts
	case errors.Is(err, errNotConverging):
		return policies.FaultPatch
	}
	return policies.FaultError
}
