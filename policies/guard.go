package policies

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/admission/workload"
)

// A guard decides from the Go normal form, before anything is converted for Rego,
// that a policy cannot find anything. Rego's own rule index does the same for
// rules that compare a field with a constant; it cannot look into lists, and
// nearly every rule about workloads begins with "some container in …".
//
// The guard of a rule is the longest beginning of its compiled body made of
// expressions that need neither Rego's functions nor other rules, but for rules that
// do not depend on the request: bindings, iterations, truth tests, comparisons,
// membership, "every", comprehensions and some built-ins (guardcall.go). If no binding
// satisfies them, the body has no solution whatever follows, and since they come
// first, leaving the rule out changes nothing: not the findings, and not the faults,
// since a guard in which a built-in fails leaves nothing out. A test holds
// evaluation with guards against evaluation without.
type guard struct {
	rules []guardedRule
}

// guardedRule is the beginning of one rule's body. Slots hold values: the first
// ones are the roots, the others are bound by steps.
type guardedRule struct {
	steps []guardStep
	slots int
}

// guardStep is one expression.
type guardStep struct {
	// slot is bound to the value at from, or in turn to each of its elements; -1 for
	// a test.
	slot    int
	iterate bool
	from    access
	test    guardTest
}

type guardTest func(*guardRun) bool

// guardRun is one use of a guard.
type guardRun struct {
	slots []reflect.Value
	left  int  // steps that may still be taken
	gave  bool // the guard gave up: Rego has to decide
}

// maxGuardSteps bounds a guard, which unlike Rego does not watch the deadline. It is
// a fraction of a millisecond, and far more than a pod of ordinary size needs.
const maxGuardSteps = 20_000

// The roots that guards know.
const (
	rootWorkload = iota
	rootImages
	rootRequest
	rootIncidents
	roots
)

// newGuardRun makes a run for the guards of all policies, one after the other.
func newGuardRun(w *workload.Workload, r *requestShape, incidents *[]incidentShape) *guardRun {
	run := &guardRun{slots: make([]reflect.Value, 24)}
	run.slots[rootWorkload] = reflect.ValueOf(w).Elem()
	run.slots[rootImages] = reflect.ValueOf(&w.Images).Elem()
	run.slots[rootRequest] = reflect.ValueOf(r).Elem()
	run.slots[rootIncidents] = reflect.ValueOf(incidents).Elem()
	return run
}

// mayFind says whether some rule may yield something for a workload of a request.
func (g *guard) mayFind(run *guardRun) bool {
	if g == nil {
		return true
	}
	run.left, run.gave = maxGuardSteps, false
	for i := range g.rules {
		rule := &g.rules[i]
		if more := rule.slots - len(run.slots); more > 0 {
			run.slots = append(run.slots, make([]reflect.Value, more)...)
		}
		if walk(run, rule.steps, stopAtOnce) || run.gave {
			return true
		}
	}
	return false
}

func stopAtOnce(*guardRun) bool { return true }

// walk binds the slots to each solution of the steps in turn, until found returns
// true, which it then returns itself.
func walk(run *guardRun, steps []guardStep, found guardTest) bool {
	for n := range steps {
		if run.left--; run.left < 0 {
			run.gave = true
		}
		if run.gave {
			return false
		}
		step := &steps[n]
		if step.slot < 0 {
			if !step.test(run) {
				return false
			}
			continue
		}
		value, ok := step.from.get(run)
		if !ok {
			return false
		}
		if !step.iterate {
			run.slots[step.slot] = value
			continue
		}
		for i := range value.Len() {
			run.slots[step.slot] = value.Index(i)
			if walk(run, steps[n+1:], found) {
				return true
			}
		}
		return false
	}
	return found(run)
}

// access reads a value below a slot. Constants and computed values have no slot.
type access struct {
	slot     int
	path     []accessStep
	constant reflect.Value
	term     *ast.Term // the constant for Rego's built-ins
	compute  func(*guardRun) (reflect.Value, bool)
	typ      reflect.Type // of the value, nil where it is none of Go's
}

// accessStep goes to a field of a struct, or with field -1 to an element of a slice.
type accessStep struct{ field, index int }

// get gives the value, false where it is undefined.
func (a *access) get(run *guardRun) (reflect.Value, bool) {
	if a.constant.IsValid() {
		return a.constant, true
	}
	if a.compute != nil {
		return a.compute(run)
	}
	value := run.slots[a.slot]
	for _, step := range a.path {
		if step.field < 0 {
			if step.index >= value.Len() {
				return value, false
			}
			value = value.Index(step.index)
			continue
		}
		value = value.Field(step.field)
		if value.Kind() == reflect.Pointer {
			if value.IsNil() {
				return value, false
			}
			value = value.Elem()
		}
	}
	return value, true
}

// guardBuilder compiles one rule's body.
type guardBuilder struct {
	constants *constants
	variables map[ast.Var]access // what a bound variable stands for
	rule      guardedRule
}

// newGuard makes the guard of a unit's rules, nil if some rule has no beginning
// that says anything.
func newGuard(c *constants, rules []*ast.Rule) *guard {
	g := &guard{}
	for _, rule := range rules {
		b := &guardBuilder{constants: c, variables: map[ast.Var]access{}, rule: guardedRule{slots: roots}}
		for _, expr := range rule.Body {
			if !b.add(expr) {
				break
			}
		}
		if !slices.ContainsFunc(b.rule.steps, func(s guardStep) bool { return s.iterate || s.slot < 0 }) {
			return nil
		}
		g.rules = append(g.rules, b.rule)
	}
	return g
}

// add takes one expression into the guard, false where it cannot.
func (b *guardBuilder) add(expr *ast.Expr) bool {
	switch terms := expr.Terms.(type) {
	case *ast.Term:
		value, ok := b.resolve(terms)
		if ok = ok && value.typ != nil; ok {
			b.addTest(truth(value), expr.Negated)
		}
		return ok
	case []*ast.Term:
		if expr.IsEquality() {
			return b.addEquality(expr)
		}
		return b.addCall(expr)
	case *ast.Every:
		return b.addEvery(terms, expr.Negated)
	}
	return false
}

func (b *guardBuilder) addTest(test guardTest, negated bool) {
	if negated {
		positive := test
		test = func(run *guardRun) bool { return !positive(run) }
	}
	b.rule.steps = append(b.rule.steps, guardStep{slot: -1, test: test})
}

// truth holds where a value is defined and not false.
func truth(a access) guardTest {
	return func(run *guardRun) bool {
		value, ok := a.get(run)
		return ok && (value.Kind() != reflect.Bool || value.Bool())
	}
}

func (b *guardBuilder) addEquality(expr *ast.Expr) bool {
	left, right := expr.Operand(0), expr.Operand(1)
	if b.unbound(right) {
		left, right = right, left
	}
	if !b.unbound(left) {
		x, ok := b.resolve(left)
		if !ok {
			return false
		}
		y, ok := b.resolve(right)
		return ok && b.addComparison("eq", x, y, expr.Negated)
	}
	return !expr.Negated && b.bind(left.Value.(ast.Var), right)
}

func (b *guardBuilder) unbound(term *ast.Term) bool {
	name, ok := term.Value.(ast.Var)
	if !ok {
		return false
	}
	_, bound := b.variables[name]
	return !bound
}

// bind makes a variable stand for a term: "x = input.workload.containers[i]".
func (b *guardBuilder) bind(name ast.Var, term *ast.Term) bool {
	if value, ok := b.resolve(term); ok {
		b.addStep(name, value, false)
		return true
	}
	if value, ok := b.comprehension(term); ok {
		b.addStep(name, value, false)
		return true
	}
	ref, ok := term.Value.(ast.Ref)
	if !ok || len(ref) < 2 {
		return false
	}
	// A variable that is not bound yet, at the end, means each element.
	index, ok := ref[len(ref)-1].Value.(ast.Var)
	if !ok {
		return false
	}
	if _, bound := b.variables[index]; bound {
		return false
	}
	list, ok := b.resolve(ast.NewTerm(ref[:len(ref)-1]))
	if !ok || !list.isList() {
		return false
	}
	b.addStep(name, list, true)
	return true
}

func (b *guardBuilder) addStep(name ast.Var, from access, iterate bool) {
	typ := from.typ
	if iterate {
		typ = typ.Elem()
	} else if from.term != nil {
		b.variables[name] = from // no slot needed
		return
	}
	slot := b.rule.slots
	b.rule.slots++
	b.rule.steps = append(b.rule.steps, guardStep{slot: slot, iterate: iterate, from: from})
	b.variables[name] = access{slot: slot, typ: typ}
}

// resolve finds what a term without unbound variables stands for.
func (b *guardBuilder) resolve(term *ast.Term) (access, bool) {
	switch value := term.Value.(type) {
	case ast.Var:
		a, ok := b.variables[value]
		return a, ok
	case ast.Ref:
		return b.resolveRef(value)
	case *ast.Array:
		if !value.IsGround() {
			return b.texts(value)
		}
	}
	if !ast.IsConstant(term.Value) {
		return access{}, false
	}
	return constantOf(term)
}

func (b *guardBuilder) resolveRef(ref ast.Ref) (access, bool) {
	if ref[0].Equal(ast.DefaultRootDocument) {
		return b.constants.resolve(ref)
	}
	var a access
	rest := ref[1:]
	if ref[0].Equal(ast.InputRootDocument) {
		if len(ref) < 2 {
			return a, false
		}
		switch section, _ := ref[1].Value.(ast.String); section {
		case "workload":
			a = access{slot: rootWorkload, typ: reflect.TypeFor[workload.Workload]()}
		case "images":
			a = access{slot: rootImages, typ: reflect.TypeFor[[]workload.Image]()}
		case "incidents":
			a = access{slot: rootIncidents, typ: reflect.TypeFor[[]incidentShape]()}
		case "request":
			a = access{slot: rootRequest, typ: reflect.TypeFor[requestShape]()}
		default:
			return a, false
		}
		rest = ref[2:]
	} else {
		name, ok := ref[0].Value.(ast.Var)
		if !ok {
			return a, false
		}
		if a, ok = b.variables[name]; !ok || a.term != nil || a.compute != nil {
			return a, false
		}
	}
	return descend(a, rest)
}

// descend follows constant segments through the Go type.
func descend(a access, segments []*ast.Term) (access, bool) {
	path := slices.Clone(a.path)
	typ := a.typ
	if typ == nil {
		return a, false
	}
	for _, segment := range segments {
		switch key := segment.Value.(type) {
		case ast.String:
			if typ.Kind() != reflect.Struct {
				return a, false
			}
			field := fieldNamed(typ, string(key))
			if field < 0 {
				return a, false
			}
			path = append(path, accessStep{field: field})
			typ = typ.Field(field).Type
			if typ.Kind() == reflect.Pointer {
				typ = typ.Elem()
			}
			if typ.Kind() == reflect.Interface {
				return a, false // raw JSON
			}
		case ast.Number:
			index, ok := key.Int()
			if typ.Kind() != reflect.Slice || !ok || index < 0 {
				return a, false
			}
			path = append(path, accessStep{field: -1, index: index})
			typ = typ.Elem()
		default:
			return a, false
		}
	}
	return access{slot: a.slot, path: path, typ: typ}, true
}

func fieldNamed(t reflect.Type, name string) int {
	for i := range t.NumField() {
		if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); tag == name {
			return i
		}
	}
	return -1
}

// comparable leaf kinds: strings, booleans and integers. Lists and objects are left
// to Rego.
func isLeaf(t reflect.Type) bool {
	if t == nil {
		return false
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int64:
		return true
	}
	return false
}

// addComparison compares two leaves of one kind. With an undefined operand a
// comparison is undefined, hence not true.
func (b *guardBuilder) addComparison(operator string, x, y access, negated bool) bool {
	if !isLeaf(x.typ) || !isLeaf(y.typ) || x.typ.Kind() != y.typ.Kind() {
		return false
	}
	if x.typ.Kind() == reflect.Bool && operator != "eq" && operator != "equal" && operator != "neq" {
		return false
	}
	b.addTest(func(run *guardRun) bool {
		u, ok := x.get(run)
		if !ok {
			return false
		}
		v, ok := y.get(run)
		return ok && compares(operator, compareLeaves(u, v))
	}, negated)
	return true
}

func compares(operator string, order int) bool {
	switch operator {
	case "neq":
		return order != 0
	case "lt":
		return order < 0
	case "lte":
		return order <= 0
	case "gt":
		return order > 0
	case "gte":
		return order >= 0
	}
	return order == 0 // eq, equal
}

func compareLeaves(u, v reflect.Value) int {
	switch u.Kind() {
	case reflect.String:
		return cmp.Compare(u.String(), v.String())
	case reflect.Bool:
		if u.Bool() == v.Bool() {
			return 0
		}
		return 1
	}
	return cmp.Compare(u.Int(), v.Int())
}

// addMembership tests "x in list" for leaves.
func (b *guardBuilder) addMembership(x, list access, negated bool) bool {
	if !isLeaf(x.typ) || !list.isList() {
		return false
	}
	if list.typ.Elem().Kind() != x.typ.Kind() && !emptyConstant(list) {
		return false
	}
	b.addTest(func(run *guardRun) bool {
		value, ok := x.get(run)
		if !ok {
			return false
		}
		elements, ok := list.get(run)
		if !ok {
			return false
		}
		for i := range elements.Len() {
			if compareLeaves(value, elements.Index(i)) == 0 {
				return true
			}
		}
		return false
	}, negated)
	return true
}

func (a *access) isList() bool { return a.typ != nil && a.typ.Kind() == reflect.Slice }

func emptyConstant(a access) bool { return a.constant.IsValid() && a.constant.Len() == 0 }
