package policies

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/portcullis-dev/portcullis/admission/workload"
)

// Trace says how one finding came about: which rule gave it, and what each line of
// the rule read.
type Trace struct {
	Policy, Instance string
	Effect           Effect
	// Message and Path are those of the finding.
	Message, Path string
	// File is where the rule stands in the bundle, Line its first line.
	File string
	Line int
	// Rule is its first line.
	Rule  string
	Steps []Step
}

// Step is one line of a rule's body.
type Step struct {
	Line  int
	Text  string
	Reads []Reading
}

// Reading is a value that a step read.
type Reading struct {
	// Ref is as written in the rule: container.securityContext.privileged.
	Ref string
	// Path is the field of the manifest it stands for, "" where there is none: items of
	// the normal form know where they come from.
	Path string
	// Value is JSON, cut to maxReading characters; "" where there is no value.
	Value string
}

// maxReading keeps a whole list of containers from burying the line that matters.
const maxReading = 200

// Explain evaluates the deny and warn rules, for an event the respond rules, as Evaluate does, one policy at a time
// and with a tracer, and says how each finding came about. It is for people who ask
// why, never for deciding.
func (e *Engine) Explain(ctx context.Context, r *Request, facts *Facts, now time.Time) ([]Trace, error) {
	j := &judgement{engine: e, request: r, facts: facts, now: now.UTC().Truncate(time.Minute), clock: now, phase: r.Phase()}
	selected, _ := j.selectInstances()
	var traces []Trace
	for _, i := range selected {
		p, err := e.plan(j.phase, []*instance{i})
		if err != nil {
			return nil, fmt.Errorf("explaining %s: %w", i.Name, err)
		}
		workloads, ok := j.workloads(ctx, p)
		if !ok {
			continue
		}
		for _, w := range orNone(workloads) {
			found, err := j.explain(ctx, p, w)
			if err != nil {
				return nil, fmt.Errorf("explaining %s: %w", i.Name, err)
			}
			traces = append(traces, found...)
		}
	}
	return traces, nil
}

// orNone are the workloads one by one, or a single nil where there are none.
func orNone(workloads []workload.Workload) []*workload.Workload {
	if len(workloads) == 0 {
		return []*workload.Workload{nil}
	}
	var each []*workload.Workload
	for n := range workloads {
		each = append(each, &workloads[n])
	}
	return each
}

func (j *judgement) explain(ctx context.Context, p *plan, w *workload.Workload) ([]Trace, error) {
	p, err := j.narrow(p, w, false)
	if err == nil {
		p, err = j.withEvidence(p, w)
	}
	if err != nil || len(p.instances) == 0 {
		return nil, err
	}
	in, err := j.newInput(p, j.request, w)
	if err != nil || len(j.unchanged(p, w, in)) > 0 {
		return nil, err
	}
	tracer := &ruleTracer{instance: p.instances[0].instance, phase: j.phase, input: withParameters(in.term, p.instances[0].unit)}
	if _, err := j.engine.run(ctx, p, in, tracer); err != nil {
		return nil, err
	}
	return tracer.traces, nil
}

// withParameters is the input with the parameters of an instance, as its rules read it:
// compiling puts them into the rules.
func withParameters(input *ast.Term, u *unit) *ast.Term {
	object, ok := input.Value.(ast.Object)
	if !ok || u.parameters == nil {
		return input
	}
	pairs := [][2]*ast.Term{{ast.StringTerm("parameters"), ast.NewTerm(u.parameters)}}
	object.Foreach(func(key, value *ast.Term) { pairs = append(pairs, [2]*ast.Term{key, value}) })
	return ast.ObjectTerm(pairs...)
}

// ruleTracer catches each time a rule of a phase of one instance gives a value.
type ruleTracer struct {
	instance *instance
	phase    Phase
	input    *ast.Term
	traces   []Trace
}

// Enabled implements topdown.QueryTracer.
func (t *ruleTracer) Enabled() bool { return true }

// Config implements topdown.QueryTracer: the values of local variables are needed.
func (t *ruleTracer) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

// TraceEvent implements topdown.QueryTracer.
func (t *ruleTracer) TraceEvent(event topdown.Event) {
	rule, ok := event.Node.(*ast.Rule)
	if !ok || event.Op != topdown.ExitOp || rule.Module == nil || !rule.Module.Package.Path.Equal(t.instance.unit.path) || rule.Location == nil {
		return
	}
	effect := Effect(rule.Head.Name)
	if rule.Head.Key == nil || !slices.Contains(t.phase.effects(), effect) {
		return
	}
	scope := t.scope(event)
	key := scope.plug(rule.Head.Key)
	finding, err := t.decode(effect, key)
	if err != nil {
		return // Evaluate reports it
	}
	trace := Trace{
		Policy: t.instance.policy.ID, Instance: t.instance.Name, Effect: effect,
		Message: finding.Message, Path: finding.Path,
		File: rule.Location.File, Line: rule.Location.Row, Rule: firstLine(string(rule.Location.Text)),
	}
	for _, expr := range t.written(rule).Body {
		trace.Steps = append(trace.Steps, scope.step(expr))
	}
	if !slices.ContainsFunc(t.traces, func(o Trace) bool {
		return o.Line == trace.Line && o.Message == trace.Message && o.Path == trace.Path
	}) {
		t.traces = append(t.traces, trace)
	}
}

// decode reads what a rule gave; an action as a finding that names it.
func (t *ruleTracer) decode(effect Effect, term *ast.Term) (Finding, error) {
	if effect != EffectRespond {
		return decodeFinding(t.instance, effect, term)
	}
	asked, err := decodeResponse(t.instance, term, time.Time{})
	return asked.Finding(), err
}

// written is the rule as its author wrote it: compiling rewrites bodies.
func (t *ruleTracer) written(compiled *ast.Rule) *ast.Rule {
	for _, rule := range t.instance.policy.module.Rules {
		if rule.Location != nil && rule.Location.Row == compiled.Location.Row && rule.Head.Name == compiled.Head.Name {
			return rule
		}
	}
	return compiled
}

// scope are the variables of a rule with their values, by the names its author gave.
type scope map[ast.Var]ast.Value

func (t *ruleTracer) scope(event topdown.Event) scope {
	s := scope{"input": t.input.Value}
	if event.Locals == nil {
		return s
	}
	event.Locals.Iter(func(key, value ast.Value) bool {
		if name, ok := key.(ast.Var); ok {
			s[name] = value
			if metadata, ok := event.LocalMetadata[name]; ok {
				s[metadata.Name] = value
			}
		}
		return false
	})
	return s
}

// plug puts values in the place of variables.
func (s scope) plug(term *ast.Term) *ast.Term {
	switch value := term.Value.(type) {
	case ast.Var:
		if known, ok := s[value]; ok {
			return ast.NewTerm(known)
		}
	case *ast.Array:
		items := make([]*ast.Term, 0, value.Len())
		value.Foreach(func(item *ast.Term) { items = append(items, s.plug(item)) })
		return ast.ArrayTerm(items...)
	case ast.Object:
		plugged := ast.NewObject()
		value.Foreach(func(key, item *ast.Term) { plugged.Insert(s.plug(key), s.plug(item)) })
		return ast.NewTerm(plugged)
	}
	return term
}

func (s scope) step(expr *ast.Expr) Step {
	step := Step{}
	if expr.Location != nil {
		step.Line, step.Text = expr.Location.Row, firstLine(string(expr.Location.Text))
	}
	seen := map[string]bool{}
	ast.WalkRefs(expr, func(ref ast.Ref) bool {
		reading, ok := s.reading(ref)
		if ok && !seen[reading.Ref] {
			seen[reading.Ref] = true
			step.Reads = append(step.Reads, reading)
		}
		return false
	})
	return step
}

// reading resolves a reference into the input or into a local variable; others
// (functions, rules, data) are not shown.
func (s scope) reading(ref ast.Ref) (Reading, bool) {
	head, ok := ref[0].Value.(ast.Var)
	if !ok || len(ref) < 2 {
		return Reading{}, false
	}
	value, ok := s[head]
	if !ok {
		return Reading{}, false
	}
	keys := make(ast.Ref, 0, len(ref)-1)
	for _, key := range ref[1:] {
		key = s.plug(key)
		if !ast.IsConstant(key.Value) {
			return Reading{}, false // an iteration: its item is a variable of its own
		}
		keys = append(keys, key)
	}
	if ref[len(ref)-1].Equal(ast.StringTerm("path")) {
		return Reading{}, false // where an item came from, not a field of the manifest
	}
	reading := Reading{Ref: ref.String(), Path: pathOf(value, keys)}
	if found, err := value.Find(keys); err == nil {
		reading.Value = cutReading(found.String())
	}
	return reading, true
}

// pathOf is the field of the manifest that keys below an item of the normal form
// stand for: such items hold the path they came from.
func pathOf(value ast.Value, keys ast.Ref) string {
	path := ""
	for n := 0; n <= len(keys); n++ {
		at, err := value.Find(keys[:n])
		if err != nil {
			break
		}
		object, ok := at.(ast.Object)
		if !ok {
			continue
		}
		if own := object.Get(ast.StringTerm("path")); own != nil {
			if text, ok := own.Value.(ast.String); ok && text != "" {
				path = string(text) + below(keys[n:])
			}
		}
	}
	return path
}

// below writes keys as the end of a path.
func below(keys ast.Ref) string {
	var b strings.Builder
	for _, key := range keys {
		switch key := key.Value.(type) {
		case ast.String:
			b.WriteString("." + string(key))
		default:
			b.WriteString("[" + key.String() + "]")
		}
	}
	return b.String()
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

func cutReading(text string) string {
	runes := []rune(text)
	if len(runes) <= maxReading {
		return text
	}
	return string(runes[:maxReading]) + "…"
}
