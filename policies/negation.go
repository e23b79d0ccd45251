package policies

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A negated call is a trap. OPA computes the operands of "not f(x.y)" before the
// negation, so where x.y is absent it is not the call that is undefined, and its negation
// true, but the whole body: the rule finds nothing, without a word. ("not x.y" and
// "not x.y == z" are no calls and mean what they say.)
//
// So an operand that reads a field which may be absent has to be tested or bound by
// an expression of the same body that is not negated, which makes it plain that the rule is about
// objects that have the field.

// negations finds such operands in one body and the bodies in it.
type negations struct{ *analysis }

// checkNegations looks at a rule's body with what its variables stand for.
func (a *analysis) checkNegations(rule *ast.Rule) {
	n := &negations{a}
	n.body(rule.Body, map[string]bool{})
}

// body checks a body; certain are the references that hold wherever it is evaluated.
func (n *negations) body(body ast.Body, certain map[string]bool) {
	hoisted := hoistedOperands(body)
	known := map[string]bool{}
	for text := range certain {
		known[text] = true
	}
	for _, expr := range body {
		if !expr.Negated && !expr.Generated {
			n.note(expr, hoisted, known)
		}
	}
	for _, expr := range body {
		if expr.Negated {
			n.negated(expr, hoisted, known)
		}
		n.closures(expr, known)
	}
}

// hoistedOperands are the expressions that OPA puts before another one to compute
// its operands, by the variable they bind.
func hoistedOperands(body ast.Body) map[ast.Var]*ast.Expr {
	hoisted := map[ast.Var]*ast.Expr{}
	for _, expr := range body {
		if !expr.Generated || expr.Negated {
			continue
		}
		var bound *ast.Term
		if expr.IsEquality() {
			bound = expr.Operand(0)
		} else if operands := expr.Operands(); len(operands) > 0 {
			bound = operands[len(operands)-1]
		}
		if bound != nil {
			if name, ok := bound.Value.(ast.Var); ok {
				hoisted[name] = expr
			}
		}
	}
	return hoisted
}

// note adds all references that an expression needs to be defined, with their beginnings.
func (n *negations) note(expr *ast.Expr, hoisted map[ast.Var]*ast.Expr, known map[string]bool) {
	n.references(expr, hoisted, func(ref ast.Ref) {
		for end := 1; end <= len(ref); end++ {
			known[n.text(ref[:end])] = true
		}
	})
}

// negated reports the operands of a negated expression that may be absent.
func (n *negations) negated(expr *ast.Expr, hoisted map[ast.Var]*ast.Expr, known map[string]bool) {
	visitVariables(expr, func(name ast.Var) {
		operand, ok := hoisted[name]
		if !ok {
			return
		}
		n.references(operand, hoisted, func(ref ast.Ref) {
			if n.mayBeAbsent(ref, n.certain(ref, known)) {
				n.refuse(expr, ref)
			}
		})
	})
}

// certain is the length of the longest beginning of a reference that is known to be
// defined. Its head always is: input, an argument, or a variable bound elsewhere.
func (n *negations) certain(ref ast.Ref, known map[string]bool) int {
	for end := len(ref); end > 1; end-- {
		if known[n.text(ref[:end])] {
			return end
		}
	}
	return 1
}

func (n *negations) refuse(expr *ast.Expr, ref ast.Ref) {
	path, _ := n.path(ast.NewTerm(ref))
	n.report(expr.Location, fmt.Sprintf("%q: where %s is absent, the rule finds nothing: bind the field in a line before (x := …), or put the call into a rule of its own and negate that",
		firstLine(string(expr.Location.Text)), formatSteps(path)))
}

// closures checks the bodies inside an expression.
func (n *negations) closures(expr *ast.Expr, known map[string]bool) {
	if every, ok := expr.Terms.(*ast.Every); ok {
		n.body(every.Body, known)
		return
	}
	ast.WalkClosures(expr, func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension:
			n.body(x.Body, known)
		case *ast.SetComprehension:
			n.body(x.Body, known)
		case *ast.ObjectComprehension:
			n.body(x.Body, known)
		case *ast.Every:
			n.body(x.Body, known)
		}
		return true
	})
}

// references visits the references an expression needs, those of its hoisted operands too, but none
// inside comprehensions, which are empty where something is undefined.
func (n *negations) references(expr *ast.Expr, hoisted map[ast.Var]*ast.Expr, visit func(ast.Ref)) {
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true
		case *ast.Every:
			n.references(ast.NewExpr(x.Domain), hoisted, visit)
			return true
		case ast.Ref:
			visit(x)
		case ast.Var:
			if operand, ok := hoisted[x]; ok && operand != expr {
				n.references(operand, hoisted, visit)
			}
		}
		return false
	}).Walk(expr)
}

func visitVariables(expr *ast.Expr, visit func(ast.Var)) {
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension, *ast.Every:
			return true
		case ast.Var:
			visit(x)
		}
		return false
	}).Walk(expr)
}

// text writes a reference so that two names of one thing are written alike.
func (n *negations) text(ref ast.Ref) string {
	var text strings.Builder
	if head, ok := ref[0].Value.(ast.Var); ok && n.origins[head] != nil {
		text.WriteString(n.text(n.origins[head]))
	} else {
		text.WriteString(ref[0].String())
	}
	for _, segment := range ref[1:] {
		text.WriteString("[" + segment.String() + "]")
	}
	return text.String()
}

// mayBeAbsent says whether an input path need not be there, though the first segments of the reference,
// certain in number, are. What the normal form always has is, and so are items that a variable
// runs over.
func (n *negations) mayBeAbsent(ref ast.Ref, certain int) bool {
	path, ok := n.path(ast.NewTerm(ref))
	if !ok {
		return false
	}
	before := len(path) - (len(ref) - 1) // steps that the head of the reference stands for
	t := reflect.TypeFor[inputShape]()
	for i, s := range path {
		segment := 1 + i - before
		absent := false
		t, absent = descendShape(t, s)
		if segment < certain {
			continue
		}
		_, index := ref[segment].Value.(ast.Number)
		if absent || index || i == 0 && (s.name == "oldObject" || s.name == "namespace") {
			return true
		}
	}
	return false
}

// rawShape is the type of what lies inside a raw object.
var rawShape = reflect.TypeFor[any]()

// descendShape goes one step into the input's type, and says whether what is there may be absent.
func descendShape(t reflect.Type, s step) (below reflect.Type, absent bool) {
	switch t.Kind() {
	case reflect.Struct:
		at := fieldNamed(t, s.name)
		if s.item || at < 0 {
			return rawShape, true
		}
		field := t.Field(at)
		_, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Type.Kind() == reflect.Pointer {
			return field.Type.Elem(), true
		}
		return field.Type, options == "omitempty"
	case reflect.Slice:
		return t.Elem(), false
	}
	return rawShape, true
}

// formatSteps writes an input path for people.
func formatSteps(path []step) string {
	text := "input"
	for _, s := range path {
		if s.item {
			text += "[_]"
		} else {
			text += "." + s.name
		}
	}
	return text
}
