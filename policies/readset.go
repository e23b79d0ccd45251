package policies

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// readSet is a tree of the input paths a policy can read, derived from the
// compiled references. It is never too small: what the analysis cannot follow
// counts as a read of the whole subtree. From it come which facts are gathered,
// which parts of a request are converted for Rego at all, which policies an
// unresolved path leaves undecided, and which policies an update cannot concern.
type readSet struct {
	whole  bool                // the whole subtree is read
	fields map[string]*readSet // by key
	items  *readSet            // any key or index: x[i], some y in x
}

// everything reads all sections of the input.
func everything() *readSet {
	all := &readSet{fields: map[string]*readSet{}}
	shape := reflect.TypeFor[inputShape]()
	for i := range shape.NumField() {
		all.fields[shape.Field(i).Tag.Get("json")] = &readSet{whole: true}
	}
	return all
}

// field gives the read set below a key, nil when nothing below it is read.
func (s *readSet) field(name string) *readSet {
	switch {
	case s == nil:
		return nil
	case s.whole:
		return s
	case s.fields[name] == nil:
		return s.items
	case s.items == nil:
		return s.fields[name]
	}
	merged := &readSet{}
	merged.merge(s.fields[name])
	merged.merge(s.items)
	return merged
}

// item gives the read set of the elements of a list, nil when none is read.
func (s *readSet) item() *readSet {
	if s == nil || s.whole {
		return s
	}
	return s.items
}

// at walks down keys; items count as any key.
func (s *readSet) at(path ...string) *readSet {
	for _, name := range path {
		s = s.field(name)
	}
	return s
}

// child gives the node below a step, created when missing.
func (s *readSet) child(step string, isItem bool) *readSet {
	if isItem {
		if s.items == nil {
			s.items = &readSet{}
		}
		return s.items
	}
	if s.fields == nil {
		s.fields = map[string]*readSet{}
	}
	if s.fields[step] == nil {
		s.fields[step] = &readSet{}
	}
	return s.fields[step]
}

func (s *readSet) merge(other *readSet) {
	if other == nil {
		return
	}
	s.whole = s.whole || other.whole
	for name, field := range other.fields {
		s.child(name, false).merge(field)
	}
	if other.items != nil {
		s.child("", true).merge(other.items)
	}
}

// close makes every path that is mentioned but not followed further a whole read.
func (s *readSet) close() {
	for _, field := range s.fields {
		field.whole = field.whole || (len(field.fields) == 0 && field.items == nil)
		field.close()
	}
	if s.items != nil {
		s.items.whole = s.items.whole || (len(s.items.fields) == 0 && s.items.items == nil)
		s.items.close()
	}
}

// step is one segment of an input path.
type step struct {
	name string
	item bool
}

// analysis derives the read set of the rules reachable from some entry points.
type analysis struct {
	compiler *ast.Compiler
	visited  map[visit]bool
	aliases  map[ast.Var][]step // local variables that stand for an input path
	// given are variables whose value comes from elsewhere: arguments, and what
	// every runs over. "x = input.a" compares them, and so reads all of input.a.
	given    map[ast.Var]bool
	location *ast.Location       // of the rule that is analysed
	origins  map[ast.Var]ast.Ref // what aliases were defined as
	reads    *readSet
	problems []error
}

// visit is a rule analysed with its arguments standing for certain input paths.
type visit struct {
	rule      *ast.Rule
	arguments string
}

// deriveReadSet analyses the rules and all rules they refer to.
func deriveReadSet(compiler *ast.Compiler, rules []*ast.Rule) (*readSet, error) {
	a := &analysis{compiler: compiler, visited: map[visit]bool{}, reads: &readSet{}}
	for _, rule := range rules {
		a.rule(rule, nil)
	}
	a.reads.close()
	return a.reads, errors.Join(a.problems...)
}

// rule analyses a rule or function. arguments are the input paths of a call's
// operands, nil for an operand that is no input path.
func (a *analysis) rule(rule *ast.Rule, arguments [][]step) {
	seen := visit{rule, fmt.Sprintf("%#v", arguments)} // %v would take no path for the path of input itself
	if a.visited[seen] {
		return
	}
	a.visited[seen] = true
	aliases, given, origins, location := a.aliases, a.given, a.origins, a.location
	a.aliases, a.given, a.origins, a.location = map[ast.Var][]step{}, givenVariables(rule), map[ast.Var]ast.Ref{}, rule.Location
	for i, path := range arguments {
		if path == nil {
			continue
		}
		if parameter, ok := rule.Head.Args[i].Value.(ast.Var); ok {
			a.aliases[parameter] = path
		} else {
			a.mark(path, true, nil) // a pattern: all of it may be looked at
		}
	}
	// An alias may be defined by way of another one: collect until nothing is new.
	for before := -1; before != len(a.aliases); {
		before = len(a.aliases)
		ast.WalkExprs(rule, func(expr *ast.Expr) bool {
			a.collectAlias(expr)
			return false
		})
	}
	a.walkRule(rule)
	a.checkNegations(rule)
	a.aliases, a.given, a.origins, a.location = aliases, given, origins, location
	if rule.Else != nil {
		a.rule(rule.Else, arguments)
	}
}

// givenVariables are the variables of a rule that its expressions do not bind.
func givenVariables(rule *ast.Rule) map[ast.Var]bool {
	given := map[ast.Var]bool{}
	take := func(v ast.Var) bool {
		given[v] = true
		return false
	}
	for _, argument := range rule.Head.Args {
		ast.WalkVars(argument, take)
	}
	ast.WalkExprs(rule.Body, func(expr *ast.Expr) bool {
		if every, ok := expr.Terms.(*ast.Every); ok {
			if every.Key != nil {
				ast.WalkVars(every.Key, take)
			}
			ast.WalkVars(every.Value, take)
		}
		return false
	})
	return given
}

// walkRule marks what a rule reads in its head and body; its arguments are bound
// by the caller and its else branch is a rule of its own.
func (a *analysis) walkRule(rule *ast.Rule) {
	for _, term := range []*ast.Term{rule.Head.Key, rule.Head.Value} {
		if term != nil {
			a.walk(term)
		}
	}
	for _, segment := range rule.Head.Reference[1:] {
		a.walk(segment)
	}
	a.walk(rule.Body)
}

// collectAlias notes "x = input.a.b[i]" and the value of "every x in input.a".
func (a *analysis) collectAlias(expr *ast.Expr) {
	if every, ok := expr.Terms.(*ast.Every); ok {
		if path, ok := a.path(every.Domain); ok {
			if value, ok := every.Value.Value.(ast.Var); ok {
				a.aliases[value] = append(path[:len(path):len(path)], step{item: true})
			}
		}
		return
	}
	variable, ref := aliasOperands(expr)
	if ref == nil {
		return
	}
	if _, known := a.aliases[variable]; known || a.given[variable] {
		return
	}
	if path, ok := a.path(ref); ok {
		a.aliases[variable] = path
		if ref, ok := ref.Value.(ast.Ref); ok {
			a.origins[variable] = ref
		}
	}
}

// aliasOperands gives the two sides of "variable = reference", nil for other expressions.
func aliasOperands(expr *ast.Expr) (ast.Var, *ast.Term) {
	if !expr.IsEquality() || expr.Negated {
		return "", nil
	}
	left, right := expr.Operand(0), expr.Operand(1)
	for range 2 {
		variable, isVar := left.Value.(ast.Var)
		if isVar && !isInput(left) && (isReference(right) || isInput(right)) {
			return variable, right
		}
		left, right = right, left
	}
	return "", nil
}

// isInput says that a term is input itself, which OPA keeps as a variable.
func isInput(term *ast.Term) bool { return term.Equal(ast.InputRootDocument) }

func isReference(term *ast.Term) bool {
	_, ok := term.Value.(ast.Ref)
	return ok
}

// path gives the input path a term stands for, empty for input itself.
func (a *analysis) path(term *ast.Term) ([]step, bool) {
	switch value := term.Value.(type) {
	case ast.Var:
		if isInput(term) {
			return []step{}, true
		}
		path, ok := a.aliases[value]
		return path, ok
	case ast.Ref:
		path := []step{}
		if !isInput(value[0]) {
			head, ok := value[0].Value.(ast.Var)
			if !ok {
				return nil, false
			}
			if path, ok = a.aliases[head]; !ok {
				return nil, false
			}
			path = path[:len(path):len(path)]
		}
		for _, segment := range value[1:] {
			if name, ok := segment.Value.(ast.String); ok {
				path = append(path, step{name: string(name)})
			} else {
				path = append(path, step{item: true})
			}
		}
		return path, true
	}
	return nil, false
}

// mark notes that a path is read. What could not be told from reading nothing, or would
// be reading everything, is refused: the input is built from the fields that are named.
func (a *analysis) mark(path []step, whole bool, location *ast.Location) {
	switch {
	case len(path) == 0 && whole:
		a.report(location, "input is used as a whole: name the field that is read (input.object, input.workload …)")
		return
	case len(path) > 0 && path[0].item:
		a.report(location, "input is read by a computed key: name the field")
		return
	}
	node := a.reads
	for _, s := range path {
		node = node.child(s.name, s.item)
	}
	node.whole = node.whole || whole
}

func (a *analysis) report(location *ast.Location, message string) {
	if location == nil {
		location = a.location
	}
	problem := fmt.Sprintf("%v: %s", location, message)
	if !slices.ContainsFunc(a.problems, func(e error) bool { return e.Error() == problem }) { // functions are analysed for each call
		a.problems = append(a.problems, errors.New(problem))
	}
}

// walk marks every reference and every use of an alias.
func (a *analysis) walk(x any) {
	visitor := ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case *ast.Expr:
			return a.walkAlias(node) || a.walkCall(node)
		case *ast.Every:
			a.walkEvery(node)
			return true
		case ast.Ref:
			a.walkRef(node)
			return true
		case *ast.Term:
			if _, isVar := node.Value.(ast.Var); !isVar {
				return false
			}
			if path, ok := a.path(node); ok {
				a.mark(path, true, node.Location) // used as a value: all of it may be read
			}
		}
		return false
	})
	visitor.Walk(x)
}

// walkAlias handles the expression that defines an alias: the path exists, but
// only what is done with the alias says what is read of it.
func (a *analysis) walkAlias(expr *ast.Expr) bool {
	variable, ref := aliasOperands(expr)
	if ref == nil {
		return false
	}
	path, ok := a.path(ref)
	alias, known := a.aliases[variable]
	if !ok || !known || !slices.Equal(path, alias) {
		return false
	}
	a.mark(path, false, ref.Location)
	if ref, ok := ref.Value.(ast.Ref); ok {
		for _, segment := range ref[1:] {
			a.walk(segment)
		}
	}
	return true
}

// walkCall follows a call of a function that is written in Rego, with what its
// operands stand for.
func (a *analysis) walkCall(expr *ast.Expr) bool {
	if !expr.IsCall() {
		return false
	}
	operator := expr.Operator()
	if operator.Equal(ast.ObjectGet.Ref()) {
		return a.walkObjectGet(expr.Operands())
	}
	if operator.Equal(ast.NowNanos.Ref()) {
		// The same clock as input.now: findings that depend on it must not be remembered.
		a.mark([]step{{name: "now"}}, true, expr.Location)
		return false
	}
	if operator.Equal(ast.NowNanos.Ref()) {
		a.mark([]step{{name: "now"}}, true, expr.Location) // the same clock by another name
	}
	if !operator[0].Equal(ast.DefaultRootDocument) {
		return false
	}
	rules := a.compiler.GetRules(operator)
	if len(rules) == 0 {
		return false
	}
	operands := expr.Operands()
	arguments := make([][]step, len(rules[0].Head.Args))
	for i, operand := range operands {
		if path, ok := a.path(operand); ok && i < len(arguments) {
			a.mark(path, false, operand.Location)
			arguments[i] = path
		} else {
			a.walk(operand)
		}
	}
	for _, rule := range rules {
		a.rule(rule, arguments)
	}
	return true
}

// walkObjectGet reads object.get(x, "key", default) and object.get(x, ["a", 0],
// default) as the references they stand for.
func (a *analysis) walkObjectGet(operands []*ast.Term) bool {
	path, ok := a.path(operands[0])
	if !ok {
		return false
	}
	path = path[:len(path):len(path)]
	switch key := operands[1].Value.(type) {
	case ast.String:
		path = append(path, step{name: string(key)})
	case *ast.Array:
		for i := range key.Len() {
			if name, ok := key.Elem(i).Value.(ast.String); ok {
				path = append(path, step{name: string(name)})
			} else {
				path = append(path, step{item: true})
			}
		}
	default:
		return false
	}
	a.mark(path, true, operands[0].Location)
	for _, operand := range operands[1:] {
		a.walk(operand)
	}
	return true
}

func (a *analysis) walkEvery(every *ast.Every) {
	if path, ok := a.path(every.Domain); ok {
		a.mark(append(path[:len(path):len(path)], step{item: true}), false, every.Location)
	} else {
		a.walk(every.Domain)
	}
	a.walk(every.Body)
}

func (a *analysis) walkRef(ref ast.Ref) {
	if ref[0].Equal(ast.DefaultRootDocument) {
		// By the constant beginning: GetRules finds no x["a"] for the reference x[key].
		for _, rule := range a.compiler.GetRules(ref.GroundPrefix()) {
			a.rule(rule, nil)
		}
	} else if path, ok := a.path(ast.NewTerm(ref)); ok {
		a.mark(path, true, ref[0].Location)
	}
	for _, segment := range ref[1:] {
		a.walk(segment)
	}
}
