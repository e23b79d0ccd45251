package policies

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/secrets"
)

// Phase says which rules are evaluated.
type Phase string

// The phases of a request at the API server: patches first, then validation of
// the object as patched by everybody.
const (
	PhaseMutate   Phase = "mutate"
	PhaseValidate Phase = "validate"
	// PhaseRespond is the only one of an event.
	PhaseRespond Phase = "respond"
	// PhaseSync is the only one of a sync of secrets.
	PhaseSync Phase = "sync"
)

func (p Phase) effects() []Effect {
	switch p {
	case PhaseMutate:
		return []Effect{EffectPatch}
	case PhaseRespond:
		return []Effect{EffectRespond}
	case PhaseSync:
		return []Effect{EffectAllowSync, EffectDeny, EffectWarn}
	}
	return []Effect{EffectDeny, EffectWarn}
}

// planKey identifies a plan: a phase and the numbers of the instances in it.
type planKey struct {
	phase     Phase
	instances string
}

// maxPlans bounds the plans kept. There are as many as there are different sets of
// matching instances, a few dozen unless selectors are used heavily.
const maxPlans = 1024

// plan is everything prepared for judging with one set of instances: one query for
// all of them, and how to build just the input they read.
type plan struct {
	key       planKey
	phase     Phase
	instances []*planned
	query     ast.Body
	reads     *readSet // of all instances
	// sections encode the parts of the input that come from Go values; nil for a
	// part nobody reads.
	request, subject, workload, namespace, now, event, sync encoder
	images                                                  *imageEncoder
	// declared are the kinds of incidents that some policy declares to read, and so sees in cluster.
	declared []Read
	// print, printImages and printRequest give the key of the memo; remembers is false
	// where no instance takes part in it.
	print, printImages, printRequest printer
	remembers                        bool
}

// planned is one instance in a plan.
type planned struct {
	*instance
	results []ruleResult
	reads   *readSet
	memo    bool // its findings are kept in the memo
	// sectionsRead are the parts of images that its rules of the plan's phase read.
	sectionsRead ImageSections
}

// ruleResult is the variable of the query that holds a rule's results.
type ruleResult struct {
	effect   Effect
	variable ast.Var
}

// workloadReads says whether the normal form matters to the instance.
func (p *planned) readsWorkload() bool {
	return p.reads.fields["workload"] != nil || p.reads.fields["images"] != nil
}

// plan gives the plan for a set of instances, from the cache if it can. It is made
// without the lock: a set that nobody has asked for yet must not hold up the others.
func (e *Engine) plan(phase Phase, instances []*instance) (*plan, error) {
	key := planKey{phase, numbers(instances)}
	e.mu.Lock()
	p, ok := e.plans[key]
	e.mu.Unlock()
	if ok {
		return p, nil
	}
	p, err := newPlan(e.compiler, key, instances, e.unpruned)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.plans) >= maxPlans {
		for old := range e.plans { // any: the order of a map is random
			delete(e.plans, old)
			break
		}
	}
	e.plans[key] = p
	return p, nil
}

func numbers(instances []*instance) string {
	text := make([]byte, 0, 4*len(instances))
	for _, i := range instances {
		text = strconv.AppendInt(text, int64(i.number), 36)
		text = append(text, ',')
	}
	return string(text)
}

func newPlan(compiler *ast.Compiler, key planKey, instances []*instance, unpruned bool) (*plan, error) {
	phase := key.phase
	p := &plan{key: key, phase: phase, reads: &readSet{}}
	remembered := &readSet{}
	variables := map[string]ast.Var{} // units that instances share are evaluated once
	for _, i := range instances {
		in := &planned{instance: i, reads: &readSet{}}
		for _, effect := range phase.effects() {
			if !i.policy.has(effect) {
				continue
			}
			ref := i.unit.ruleRef(effect)
			name := ref.String()
			if _, ok := variables[name]; !ok {
				variables[name] = ast.Var("x" + strconv.Itoa(len(variables)))
				p.query = append(p.query, ast.Equality.Expr(ast.NewTerm(variables[name]), ast.NewTerm(ref)))
			}
			in.results = append(in.results, ruleResult{effect, variables[name]})
			in.reads.merge(i.unit.reads[effect])
		}
		in.sectionsRead = sectionsOf(in.reads)
		for _, read := range i.policy.Reads {
			p.declared = append(p.declared, Read{Group: read.Group, Resource: read.Resource})
		}
		p.reads.merge(in.reads)
		if in.memo = phase == PhaseValidate && in.memoizable(); in.memo {
			p.remembers = true
			remembered.merge(in.reads)
		}
		p.instances = append(p.instances, in)
	}
	if len(p.query) > 0 {
		for n, expr := range p.query {
			expr.Index = n
		}
		compiled, err := compiler.QueryCompiler().Compile(p.query)
		if err != nil {
			return nil, fmt.Errorf("compiling the query for %d policies: %w", len(instances), err)
		}
		p.query = compiled
	}
	if unpruned {
		p.reads = everything()
	}
	section := func(t reflect.Type, name string) encoder { return newEncoder(t, p.reads.fields[name]) }
	p.request = section(reflect.TypeFor[requestShape](), "request")
	p.subject = section(reflect.TypeFor[subjectShape](), "subject")
	p.workload = section(reflect.TypeFor[workload.Workload](), "workload")
	p.images = newImageEncoder(p.reads.fields["images"])
	p.namespace = section(reflect.TypeFor[Namespace](), "namespace")
	p.now = section(reflect.TypeFor[string](), "now")
	p.event = section(reflect.TypeFor[eventShape](), "event")
	p.sync = section(reflect.TypeFor[secrets.Sync](), "sync")
	p.print = newPrinter(reflect.TypeFor[workload.Workload](), remembered.fields["workload"])
	p.printImages = newPrinter(reflect.TypeFor[[]workload.Image](), remembered.fields["images"])
	p.printRequest = newPrinter(reflect.TypeFor[requestShape](), remembered.fields["request"])
	return p, nil
}

// single is a plan of one of the plan's instances alone.
func (e *Engine) single(p *plan, i *instance) (*plan, error) {
	return e.plan(p.phase, []*instance{i})
}

// run evaluates the plan's query once. A panic in the evaluator or in one of its
// built-ins is an error like any other.
// A tracer sees every step; evaluation is much slower with one.
func (e *Engine) run(ctx context.Context, p *plan, in *input, tracers ...topdown.QueryTracer) (result topdown.QueryResult, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{fmt.Sprint(r)}
		}
	}()
	if e.beforeRun != nil {
		e.beforeRun(p)
	}
	cancel := topdown.NewCancel()
	stop := context.AfterFunc(ctx, cancel.Cancel)
	defer stop()
	if ctx.Err() != nil {
		cancel.Cancel()
	}
	query := topdown.NewQuery(p.query)
	for _, tracer := range tracers {
		query = query.WithQueryTracer(tracer)
	}
	err = query.
		WithCompiler(e.compiler).
		WithStore(e.store).
		WithTransaction(e.txn).
		WithInput(in.term).
		WithCancel(cancel).
		WithTime(in.now).
		WithStrictBuiltinErrors(true).
		Iter(ctx, func(r topdown.QueryResult) error {
			result = r
			return nil
		})
	return result, err
}

// panicError is a panic of the evaluator.
type panicError struct{ value string }

func (e *panicError) Error() string { return "the evaluator panicked: " + e.value }

// faultKind classifies an error of the evaluator.
func faultKind(err error) FaultKind {
	var panicked *panicError
	switch {
	case topdown.IsCancel(err), strings.Contains(err.Error(), context.DeadlineExceeded.Error()):
		return FaultDeadline
	case asPanic(err, &panicked):
		return FaultPanic
	}
	return FaultError
}

func asPanic(err error, target **panicError) bool {
	p, ok := err.(*panicError) //nolint:errorlint // made and returned by run alone
	*target = p
	return ok
}
