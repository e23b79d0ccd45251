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
// expressions that need neither functions nor other rules: bindings, iterations,
// truth tests, comparisons, membership. If no binding satisfies them, the body
// has no solution whatever follows, and since they come first and cannot fail,
// leaving the rule out changes nothing: not the findings, not the faults. A test
// holds evaluation with guards against evaluation without.
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
	test    func(slots []reflect.Value) bool
}

// The roots that guards know.
const (
	rootWorkload = iota
	rootImages
	roots
)

// mayFind says whether some rule may yield something for a workload.
func (g *guard) mayFind(w *workload.Workload) bool {
	if g == nil {
		return true
	}
	var few [16]reflect.Value
	for i := range g.rules {
		rule := &g.rules[i]
		slots := few[:]
		if rule.slots > len(slots) {
			slots = make([]reflect.Value, rule.slots)
		}
		slots[rootWorkload] = reflect.ValueOf(w).Elem()
		slots[rootImages] = reflect.ValueOf(&w.Images).Elem()
		if rule.holds(slots, 0) {
			return true
		}
	}
	return false
}

// holds says whether some binding of the slots satisfies the steps from one on.
func (r *guardedRule) holds(slots []reflect.Value, from int) bool {
	for n := from; n < len(r.steps); n++ {
		step := &r.steps[n]
		if step.slot < 0 {
			if !step.test(slots) {
				return false
			}
			continue
		}
		value, ok := step.from.get(slots)
		if !ok {
			return false
		}
		if !step.iterate {
			slots[step.slot] = value
			continue
		}
		for i := range value.Len() {
			slots[step.slot] = value.Index(i)
			if r.holds(slots, n+1) {
				return true
			}
		}
		return false
	}
	return true
}

// access reads a value below a slot; constants have no slot.
type access struct {
	slot     int
	path     []accessStep
	constant reflect.Value
	typ      reflect.Type // of the value
}

// accessStep goes to a field of a struct, or with field -1 to an element of a slice.
type accessStep struct{ field, index int }

// get gives the value, false where it is undefined.
func (a *access) get(slots []reflect.Value) (reflect.Value, bool) {
	if a.constant.IsValid() {
		return a.constant, true
	}
	value := slots[a.slot]
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
	compiler  *ast.Compiler
	variables map[ast.Var]access // what a bound variable stands for
	rule      guardedRule
}

// newGuard makes the guard of a unit's rules, nil if some rule has no beginning
// that says anything.
func newGuard(compiler *ast.Compiler, rules []*ast.Rule) *guard {
	g := &guard{}
	for _, rule := range rules {
		b := &guardBuilder{compiler: compiler, variables: map[ast.Var]access{}, rule: guardedRule{slots: roots}}
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
		if ok {
			b.addTest(truth(value), expr.Negated)
		}
		return ok
	case []*ast.Term:
		if expr.IsEquality() {
			return b.addEquality(expr)
		}
		return b.addCall(expr)
	}
	return false
}

func (b *guardBuilder) addTest(test func([]reflect.Value) bool, negated bool) {
	if negated {
		positive := test
		test = func(slots []reflect.Value) bool { return !positive(slots) }
	}
	b.rule.steps = append(b.rule.steps, guardStep{slot: -1, test: test})
}

// truth holds where a value is defined and not false.
func truth(a access) func([]reflect.Value) bool {
	return func(slots []reflect.Value) bool {
		value, ok := a.get(slots)
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
	if !ok || list.typ.Kind() != reflect.Slice {
		return false
	}
	b.addStep(name, list, true)
	return true
}

func (b *guardBuilder) addStep(name ast.Var, from access, iterate bool) {
	typ := from.typ
	if iterate {
		typ = typ.Elem()
	} else if from.constant.IsValid() {
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
	}
	return constant(term)
}

func (b *guardBuilder) resolveRef(ref ast.Ref) (access, bool) {
	if ref[0].Equal(ast.DefaultRootDocument) {
		return b.resolveParameter(ref)
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
		default:
			return a, false
		}
		rest = ref[2:]
	} else {
		name, ok := ref[0].Value.(ast.Var)
		if !ok {
			return a, false
		}
		if a, ok = b.variables[name]; !ok || a.constant.IsValid() {
			return a, false
		}
	}
	return descend(a, rest)
}

// descend follows constant segments through the Go type.
func descend(a access, segments []*ast.Term) (access, bool) {
	path := slices.Clone(a.path)
	typ := a.typ
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

// resolveParameter looks a reference to the unit's parameters up.
func (b *guardBuilder) resolveParameter(ref ast.Ref) (access, bool) {
	for n := len(ref); n > 3; n-- {
		if !ref[n-1].Equal(ast.StringTerm(parametersRule)) {
			continue
		}
		rules := b.compiler.GetRulesExact(ref[:n])
		if len(rules) != 1 {
			return access{}, false
		}
		value, err := rules[0].Head.Value.Value.Find(ref[n:])
		if err != nil {
			return access{}, false
		}
		return constant(ast.NewTerm(value))
	}
	return access{}, false
}

// constant makes an access of a scalar, or of a list or set of scalars of one type.
func constant(term *ast.Term) (access, bool) {
	var value any
	switch v := term.Value.(type) {
	case ast.String:
		value = string(v)
	case ast.Boolean:
		value = bool(v)
	case ast.Number:
		n, ok := v.Int64()
		if !ok {
			return access{}, false
		}
		value = n
	case *ast.Array:
		return constantList(v.Foreach)
	case ast.Set:
		return constantList(v.Foreach)
	default:
		return access{}, false
	}
	c := reflect.ValueOf(value)
	return access{constant: c, typ: c.Type()}, true
}

func constantList(each func(func(*ast.Term))) (access, bool) {
	texts, numbers, ok := []string{}, []int64{}, true
	each(func(element *ast.Term) {
		switch e := element.Value.(type) {
		case ast.String:
			texts = append(texts, string(e))
		case ast.Number:
			n, isInt := e.Int64()
			numbers, ok = append(numbers, n), ok && isInt
		default:
			ok = false
		}
	})
	if !ok || (len(texts) > 0 && len(numbers) > 0) {
		return access{}, false
	}
	c := reflect.ValueOf(texts)
	if len(numbers) > 0 {
		c = reflect.ValueOf(numbers)
	}
	return access{constant: c, typ: c.Type()}, true
}

// addCall takes comparisons and membership, whose operands are all resolved.
func (b *guardBuilder) addCall(expr *ast.Expr) bool {
	operands := expr.Operands()
	if len(operands) != 2 {
		return false
	}
	x, ok := b.resolve(operands[0])
	if !ok {
		return false
	}
	y, ok := b.resolve(operands[1])
	if !ok {
		return false
	}
	switch operator := expr.Operator().String(); operator {
	case "neq", "lt", "lte", "gt", "gte", "equal":
		return b.addComparison(operator, x, y, expr.Negated)
	case "internal.member_2":
		return b.addMembership(x, y, expr.Negated)
	}
	return false
}

// comparable leaf kinds: strings, booleans and integers. Lists and objects are left
// to Rego.
func isLeaf(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int64:
		return true
	}
	return false
}

// addComparison compares two leaves of one kind. With an undefined operand a
// comparison is undefined, hence not true.
func (b *guardBuilder) addComparison(operator string, x, y access, negated bool) bool {
	if !isLeaf(x.typ) || x.typ.Kind() != y.typ.Kind() {
		return false
	}
	if x.typ.Kind() == reflect.Bool && operator != "eq" && operator != "equal" && operator != "neq" {
		return false
	}
	b.addTest(func(slots []reflect.Value) bool {
		u, ok := x.get(slots)
		if !ok {
			return false
		}
		v, ok := y.get(slots)
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
	if !isLeaf(x.typ) || list.typ.Kind() != reflect.Slice {
		return false
	}
	if list.typ.Elem().Kind() != x.typ.Kind() && !emptyConstant(list) {
		return false
	}
	b.addTest(func(slots []reflect.Value) bool {
		value, ok := x.get(slots)
		if !ok {
			return false
		}
		elements, ok := list.get(slots)
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

func emptyConstant(a access) bool { return a.constant.IsValid() && a.constant.Len() == 0 }
