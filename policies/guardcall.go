package policies

import (
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// guardBuiltins are the built-ins that guards call, and what they return. All compute
// from their arguments alone, in time that grows with their length only. For those
// without an implementation in guardFunctions it is Rego's own that is called.
var guardBuiltins = map[string]reflect.Type{
	"startswith":               reflect.TypeFor[bool](),
	"endswith":                 reflect.TypeFor[bool](),
	"contains":                 reflect.TypeFor[bool](),
	"glob.match":               reflect.TypeFor[bool](),
	"regex.match":              reflect.TypeFor[bool](),
	"strings.any_prefix_match": reflect.TypeFor[bool](),
	"concat":                   reflect.TypeFor[string](),
	"lower":                    reflect.TypeFor[string](),
	"upper":                    reflect.TypeFor[string](),
	"trim_prefix":              reflect.TypeFor[string](),
	"trim_suffix":              reflect.TypeFor[string](),
	"count":                    reflect.TypeFor[int64](),
	"array.concat":             reflect.TypeFor[[]string](),
}

// guardFunctions are the built-ins that Go's strings have too, for texts and lists of
// texts: converting the arguments for Rego costs more than the call.
var guardFunctions = map[string]func(x, y reflect.Value) reflect.Value{
	"startswith": func(x, y reflect.Value) reflect.Value {
		return reflect.ValueOf(strings.HasPrefix(x.String(), y.String()))
	},
	"endswith": func(x, y reflect.Value) reflect.Value {
		return reflect.ValueOf(strings.HasSuffix(x.String(), y.String()))
	},
	"contains": func(x, y reflect.Value) reflect.Value {
		return reflect.ValueOf(strings.Contains(x.String(), y.String()))
	},
	"strings.any_prefix_match": func(x, y reflect.Value) reflect.Value {
		for i := range y.Len() {
			if strings.HasPrefix(x.String(), y.Index(i).String()) {
				return reflect.ValueOf(true)
			}
		}
		return reflect.ValueOf(false)
	},
	"concat": func(x, y reflect.Value) reflect.Value {
		return reflect.ValueOf(strings.Join(y.Interface().([]string), x.String()))
	},
	"array.concat": func(x, y reflect.Value) reflect.Value {
		return reflect.ValueOf(slices.Concat(x.Interface().([]string), y.Interface().([]string)))
	},
}

// guardOperands are the types that those functions take.
var guardOperands = map[string][2]reflect.Type{
	"startswith":               {reflect.TypeFor[string](), reflect.TypeFor[string]()},
	"endswith":                 {reflect.TypeFor[string](), reflect.TypeFor[string]()},
	"contains":                 {reflect.TypeFor[string](), reflect.TypeFor[string]()},
	"strings.any_prefix_match": {reflect.TypeFor[string](), reflect.TypeFor[[]string]()},
	"concat":                   {reflect.TypeFor[string](), reflect.TypeFor[[]string]()},
	"array.concat":             {reflect.TypeFor[[]string](), reflect.TypeFor[[]string]()},
}

// addCall takes comparisons, membership and built-ins, whose operands are all resolved.
func (b *guardBuilder) addCall(expr *ast.Expr) bool {
	operands := expr.Operands()
	var values []access
	for _, operand := range operands {
		if b.unbound(operand) && len(values) == len(operands)-1 {
			break // where the result goes
		}
		value, ok := b.resolve(operand)
		if !ok {
			return false
		}
		values = append(values, value)
	}
	operator := expr.Operator().String()
	switch {
	case len(values) != 2 || len(operands) != 2:
	case operator == "internal.member_2":
		return b.addMembership(values[0], values[1], expr.Negated)
	case slices.Contains([]string{"neq", "lt", "lte", "gt", "gte", "equal"}, operator):
		return b.addComparison(operator, values[0], values[1], expr.Negated)
	}
	return b.addBuiltin(operator, operands, values, expr.Negated)
}

// addBuiltin takes a call that is a test, or whose result goes into a new variable.
func (b *guardBuilder) addBuiltin(operator string, operands []*ast.Term, values []access, negated bool) bool {
	builtin, known := ast.BuiltinMap[operator]
	result, allowed := guardBuiltins[operator]
	if !known || !allowed || len(values) != builtin.Decl.Arity() {
		return false
	}
	call, ok := newGuardCall(operator, result, values)
	switch {
	case !ok:
		return false
	case len(operands) == len(values):
		b.addTest(truth(call), negated)
		return true
	case len(operands) == len(values)+1 && !negated:
		b.addStep(operands[len(values)].Value.(ast.Var), call, false)
		return true
	}
	return false
}

// newGuardCall is the result of a built-in.
func newGuardCall(operator string, result reflect.Type, operands []access) (access, bool) {
	if operator == "count" {
		return count(operands[0])
	}
	if types, ok := guardOperands[operator]; ok && operands[0].typ == types[0] && operands[1].typ == types[1] {
		return newGuardFunction(guardFunctions[operator], result, operands[0], operands[1]), true
	}
	for _, operand := range operands {
		if operand.term == nil && !isLeaf(operand.typ) && !isTexts(operand.typ) {
			return access{}, false
		}
	}
	function := topdown.GetBuiltin(operator)
	return access{typ: result, compute: func(run *guardRun) (reflect.Value, bool) {
		terms := make([]*ast.Term, len(operands))
		for i := range operands {
			var ok bool
			if terms[i], ok = operands[i].asTerm(run); !ok {
				return reflect.Value{}, false
			}
		}
		var returned *ast.Term
		err := function(topdown.BuiltinContext{}, terms, func(term *ast.Term) error {
			returned = term
			return nil
		})
		if err != nil {
			run.gave = true
		}
		if err != nil || returned == nil {
			return reflect.Value{}, false
		}
		value, ok := constantOf(returned)
		if !ok || value.typ != result {
			run.gave = true
			return reflect.Value{}, false
		}
		return value.constant, true
	}}, true
}

func newGuardFunction(function func(x, y reflect.Value) reflect.Value, result reflect.Type, first, second access) access {
	return access{typ: result, compute: func(run *guardRun) (reflect.Value, bool) {
		x, ok := first.get(run)
		if !ok {
			return x, false
		}
		y, ok := second.get(run)
		if !ok {
			return y, false
		}
		return function(x, y), true
	}}
}

// count counts the elements of a list or the characters of a text.
func count(of access) (access, bool) {
	isText := of.typ != nil && of.typ.Kind() == reflect.String
	if !of.isList() && !isText {
		return access{}, false
	}
	return access{typ: reflect.TypeFor[int64](), compute: func(run *guardRun) (reflect.Value, bool) {
		value, ok := of.get(run)
		switch {
		case !ok:
			return value, false
		case isText:
			return reflect.ValueOf(int64(utf8.RuneCountInString(value.String()))), true
		}
		return reflect.ValueOf(int64(value.Len())), true
	}}, true
}

func isTexts(t reflect.Type) bool { return t == reflect.TypeFor[[]string]() }

// asTerm gives a value to Rego's built-ins.
func (a *access) asTerm(run *guardRun) (*ast.Term, bool) {
	if a.term != nil {
		return a.term, true
	}
	value, ok := a.get(run)
	if !ok {
		return nil, false
	}
	switch value.Kind() {
	case reflect.String:
		return ast.StringTerm(value.String()), true
	case reflect.Bool:
		return ast.InternedTerm(value.Bool()), true
	case reflect.Int64:
		return integerTerm(value.Int()), true
	}
	terms := make([]*ast.Term, value.Len())
	for i := range terms {
		terms[i] = ast.StringTerm(value.Index(i).String())
	}
	return ast.ArrayTerm(terms...), true
}

// texts is a list of texts that is written out: [image.registry, image.repository, ""].
func (b *guardBuilder) texts(list *ast.Array) (access, bool) {
	var elements []access
	for i := range list.Len() {
		element, ok := b.resolve(list.Elem(i))
		if !ok || element.typ == nil || element.typ.Kind() != reflect.String {
			return access{}, false
		}
		elements = append(elements, element)
	}
	return access{typ: reflect.TypeFor[[]string](), compute: func(run *guardRun) (reflect.Value, bool) {
		texts := make([]string, len(elements))
		for i := range elements {
			value, ok := elements[i].get(run)
			if !ok {
				return value, false
			}
			texts[i] = value.String()
		}
		return reflect.ValueOf(texts), true
	}}, true
}

// nested starts a body within the body: what it binds is seen in it alone.
func (b *guardBuilder) nested() *guardBuilder {
	variables := map[ast.Var]access{}
	for name, value := range b.variables {
		variables[name] = value
	}
	return &guardBuilder{constants: b.constants, variables: variables, rule: guardedRule{slots: b.rule.slots}}
}

// addAll takes a whole body, or nothing.
func (b *guardBuilder) addAll(body ast.Body) bool {
	for _, expr := range body {
		if !b.add(expr) {
			return false
		}
	}
	return true
}

// addEvery takes "every x in list { … }", true where the body has a solution for each
// element.
func (b *guardBuilder) addEvery(every *ast.Every, negated bool) bool {
	domain, ok := b.resolve(every.Domain)
	name, isVar := every.Value.Value.(ast.Var)
	if !ok || !domain.isList() || !isVar {
		return false
	}
	inner := b.nested()
	slot := inner.rule.slots
	inner.rule.slots++
	inner.variables[name] = access{slot: slot, typ: domain.typ.Elem()}
	if !inner.addAll(every.Body) {
		return false
	}
	b.rule.slots = inner.rule.slots
	b.addTest(func(run *guardRun) bool {
		list, ok := domain.get(run)
		if !ok {
			return false
		}
		for i := range list.Len() {
			run.slots[slot] = list.Index(i)
			if !walk(run, inner.rule.steps, stopAtOnce) {
				return false
			}
		}
		return true
	}, negated)
	return true
}

// comprehension is a set or list of texts: {variable.name | some variable in container.env}.
func (b *guardBuilder) comprehension(term *ast.Term) (access, bool) {
	var result *ast.Term
	var body ast.Body
	switch c := term.Value.(type) {
	case *ast.SetComprehension:
		result, body = c.Term, c.Body
	case *ast.ArrayComprehension:
		result, body = c.Term, c.Body
	default:
		return access{}, false
	}
	_, isSet := term.Value.(*ast.SetComprehension)
	inner := b.nested()
	if !inner.addAll(body) {
		return access{}, false
	}
	text, ok := inner.resolve(result)
	if !ok || text.typ == nil || text.typ.Kind() != reflect.String {
		return access{}, false
	}
	b.rule.slots = inner.rule.slots
	return access{typ: reflect.TypeFor[[]string](), compute: func(run *guardRun) (reflect.Value, bool) {
		texts := []string{}
		walk(run, inner.rule.steps, func(run *guardRun) bool {
			if value, ok := text.get(run); ok {
				texts = append(texts, value.String())
			}
			return false
		})
		if isSet {
			slices.SortFunc(texts, strings.Compare)
			texts = slices.Compact(texts)
		}
		return reflect.ValueOf(texts), true
	}}, true
}
