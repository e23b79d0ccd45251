package conftest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/portcullis-dev/portcullis/policies"
)

// Engine is a folder of Conftest's policies, compiled. It is immutable and may be used by any number of goroutines.
type Engine struct {
	compiler    *ast.Compiler
	data        map[string]any
	store       storage.Store
	transaction storage.Transaction // one read transaction: the store is never written
	namespaces  []namespace
	resources   map[groupResource]bool // the only ones that requests are judged of, nil for all
	settings    *configuration
	strict      bool // an error of a built-in is a fault
	readsFile   bool
	waive       func(*policies.Request, *policies.Facts, time.Time, []policies.Finding)
}

// namespace is a package with rules that are asked.
type namespace struct {
	name      string // without "data."
	path      ast.Ref
	rules     []rule
	excepts   bool // it has a rule exception
	exception ast.Body
}

// rule is one name of rules: deny, warn_latest_tag.
type rule struct {
	name, id string
	title    string // of its METADATA, else its name and package
	effect   policies.Effect
	query    ast.Body
}

// Names of rules are those of Conftest's policy/engine.go.
var (
	warnings = regexp.MustCompile("^warn(_[a-zA-Z0-9]+)*$")
	failures = regexp.MustCompile("^(deny|violation)(_[a-zA-Z0-9]+)*$")
)

// effectOf is what becomes of a rule's results, false for a rule that is not asked.
func effectOf(name string) (policies.Effect, bool) {
	switch {
	case failures.MatchString(name):
		return policies.EffectDeny, true
	case warnings.MatchString(name):
		return policies.EffectWarn, true
	}
	return "", false
}

// add takes the rules of a module in.
func (n *namespace) add(module *ast.Module) {
	for _, defined := range module.Rules {
		name := string(defined.Head.Name)
		if name == "" && len(defined.Head.Reference) > 0 {
			name = firstName(defined.Head.Reference)
		}
		if name == "exception" {
			n.excepts = true
		}
		effect, asked := effectOf(name)
		if !asked || slices.ContainsFunc(n.rules, func(r rule) bool { return r.name == name }) {
			continue
		}
		n.rules = append(n.rules, rule{
			name: name, id: "conftest/" + n.name + "." + name, effect: effect,
			title: cmp.Or(titleOf(defined), fmt.Sprintf("Conftest rule %s of package %s", name, n.name)),
		})
	}
}

// titleOf is the title in a rule's METADATA, "" where it has none
// (https://www.openpolicyagent.org/docs/policy-language#metadata).
func titleOf(defined *ast.Rule) string {
	for _, annotations := range defined.Annotations {
		if annotations.Title != "" {
			return shorten(annotations.Title)
		}
	}
	return ""
}

// Variables of the queries.
const (
	resultVariable    = ast.Var("result")
	exceptionVariable = ast.Var("name")
)

// prepare compiles a query for each rule, so that a fault costs only its own.
func (e *Engine) prepare() error {
	for n := range e.namespaces {
		one := &e.namespaces[n]
		slices.SortFunc(one.rules, func(a, b rule) int { return strings.Compare(a.name, b.name) })
		for r := range one.rules {
			at := &one.rules[r]
			if e.settings.FailOnWarn {
				at.effect = policies.EffectDeny
			}
			body := ast.NewBody(ast.Equality.Expr(ast.NewTerm(resultVariable), ast.NewTerm(one.path.Append(ast.StringTerm(at.name)))))
			var err error
			if at.query, err = e.compiler.QueryCompiler().Compile(body); err != nil {
				return fmt.Errorf("rule %s of package %s: %w", at.name, one.name, err)
			}
		}
		if !one.excepts {
			continue
		}
		anyName := one.path.Append(ast.StringTerm("exception")).Append(ast.VarTerm("_set")).Append(ast.VarTerm("_item"))
		body := ast.NewBody(ast.Equality.Expr(ast.NewTerm(exceptionVariable), ast.NewTerm(anyName)))
		var err error
		if one.exception, err = e.compiler.QueryCompiler().Compile(body); err != nil {
			return fmt.Errorf("rule exception of package %s: %w", one.name, err)
		}
	}
	return nil
}

// Rules are the ids of the rules that are asked, sorted: "conftest/main.deny".
func (e *Engine) Rules() []string {
	var ids []string
	for _, one := range e.namespaces {
		for _, rule := range one.rules {
			ids = append(ids, rule.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// evaluation is one input, judged by all rules.
type evaluation struct {
	engine      *Engine
	input       *ast.Term
	now         time.Time
	store       storage.Store
	transaction storage.Transaction
	left        int // queries still to run, each of which gets its share of the time
	result      policies.Result
}

// judge asks all rules about an input.
func (v *evaluation) judge(ctx context.Context) {
	for n := range v.engine.namespaces {
		v.left += len(v.engine.namespaces[n].rules) + 1
	}
	for n := range v.engine.namespaces {
		one := &v.engine.namespaces[n]
		excepted, err := v.exceptions(ctx, one)
		for r := range one.rules {
			if err != nil { // what is excepted is not known: so is what is denied
				v.result.Matched++
				v.fault(&one.rules[r], fmt.Errorf("rule exception: %w", err))
				continue
			}
			v.ask(ctx, one, &one.rules[r], excepted)
		}
	}
}

// ask takes the results of one rule.
func (v *evaluation) ask(ctx context.Context, one *namespace, r *rule, excepted map[string]bool) {
	v.result.Matched++
	var value ast.Value
	err := v.run(ctx, r.query, func(result topdown.QueryResult) {
		if term := result[resultVariable]; term != nil {
			value = term.Value
		}
	})
	if err != nil {
		v.fault(r, err)
		return
	}
	findings, err := r.findings(value)
	if err != nil {
		v.fault(r, err)
	}
	if name := unprefixed(r.name); excepted[name] {
		for n := range findings {
			findings[n].ExceptedBy = fmt.Sprintf("rule exception of Conftest package %s", one.name)
		}
	}
	v.result.Findings = append(v.result.Findings, findings...)
}

// exceptions are the names of rules, without their prefix, that an input is excepted from.
func (v *evaluation) exceptions(ctx context.Context, one *namespace) (map[string]bool, error) {
	if !one.excepts {
		return nil, nil
	}
	names := map[string]bool{}
	err := v.run(ctx, one.exception, func(result topdown.QueryResult) {
		if term := result[exceptionVariable]; term != nil {
			if text, ok := term.Value.(ast.String); ok {
				names[string(text)] = true
			}
		}
	})
	return names, err
}

// unprefixed is a rule's name as exceptions have it: "run_as_root" for deny_run_as_root, "" for deny.
func unprefixed(name string) string {
	_, rest, _ := strings.Cut(name, "_")
	return rest
}

// errPanic is a panic of the evaluator.
var errPanic = errors.New("the evaluator panicked")

// run evaluates a query within its share of the time that is left.
func (v *evaluation) run(ctx context.Context, query ast.Body, each func(topdown.QueryResult)) (err error) {
	ctx, done := policies.ShareOf(ctx, v.left)
	v.left--
	defer done()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	cancel := topdown.NewCancel()
	stop := context.AfterFunc(ctx, cancel.Cancel)
	defer stop()
	if ctx.Err() != nil {
		cancel.Cancel()
	}
	return topdown.NewQuery(query).
		WithCompiler(v.engine.compiler).
		WithStore(v.store).
		WithTransaction(v.transaction).
		WithInput(v.input).
		WithCancel(cancel).
		WithTime(v.now).
		WithStrictBuiltinErrors(v.engine.strict).
		Iter(ctx, func(result topdown.QueryResult) error {
			each(result)
			return nil
		})
}

func (v *evaluation) fault(r *rule, err error) {
	kind := policies.FaultError
	switch {
	case topdown.IsCancel(err), errors.Is(err, context.DeadlineExceeded):
		kind = policies.FaultDeadline
	case errors.Is(err, errPanic):
		kind = policies.FaultPanic
	}
	v.faultOf(r, kind, err.Error())
}

func (v *evaluation) faultOf(r *rule, kind policies.FaultKind, message string) {
	v.result.Faults = append(v.result.Faults, policies.Fault{Policy: r.id, Kind: kind, Message: message, Enforcement: r.enforcement()})
}

func (r *rule) enforcement() policies.Enforcement {
	if r.effect == policies.EffectWarn {
		return policies.EnforceWarn
	}
	return policies.EnforceDeny
}

// all makes a fault of every rule.
func (v *evaluation) all(kind policies.FaultKind, message string) {
	for n := range v.engine.namespaces {
		for r := range v.engine.namespaces[n].rules {
			v.result.Matched++
			v.faultOf(&v.engine.namespaces[n].rules[r], kind, message)
		}
	}
}

// on is an evaluation of an input, with the file that it is of for policies that read that.
func (e *Engine) on(ctx context.Context, input *ast.Term, now time.Time, file map[string]any) (*evaluation, error) {
	v := &evaluation{engine: e, input: input, now: now, store: e.store, transaction: e.transaction}
	if !e.readsFile || file == nil {
		return v, nil
	}
	data := maps.Clone(e.data)
	data["conftest"] = map[string]any{"file": file}
	v.store = inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true), inmem.OptRoundTripOnWrite(false))
	var err error
	v.transaction, err = v.store.NewTransaction(ctx)
	return v, err
}

// groupResource is one resource of one API group.
type groupResource struct{ group, resource string }

func compareResources(a, b groupResource) int {
	return cmp.Or(strings.Compare(a.group, b.group), strings.Compare(a.resource, b.resource))
}

// resourcesOf reads "deployments.apps", nil for none.
func resourcesOf(names []string) map[groupResource]bool {
	if len(names) == 0 {
		return nil
	}
	resources := map[groupResource]bool{}
	for _, name := range names {
		resource, group, _ := strings.Cut(name, ".")
		resources[groupResource{group, resource}] = true
	}
	return resources
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
