package policies

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Mutant is a policy with one condition inverted. A policy's samples have to tell
// each mutant from the policy itself, or the condition could be lost unnoticed.
type Mutant struct {
	// Location and Condition say which expression was inverted.
	Location, Condition string
	// Bundle holds the mutant alone, as [Bundle.Only] does.
	Bundle *Bundle
}

// Mutants inverts each condition of each rule of a policy in turn, those inside
// comprehensions included. Declarations and assignments are no conditions.
func (b *Bundle) Mutants(id string, parameters map[string]any) ([]Mutant, error) {
	original, err := b.Only(id, parameters)
	if err != nil {
		return nil, err
	}
	var mutants []Mutant
	for n, expr := range conditions(b.Policies[id].module) {
		mutated := *b.Policies[id]
		mutated.module = mutated.module.Copy()
		inverted := conditions(mutated.module)[n]
		inverted.Negated = !inverted.Negated
		bundle := *original
		bundle.Policies = map[string]*Policy{id: &mutated}
		mutants = append(mutants, Mutant{
			Location:  expr.Location.String(),
			Condition: strings.TrimSpace(string(expr.Location.Text)),
			Bundle:    &bundle,
		})
	}
	return mutants, nil
}

// conditions are the expressions of a module that decide, in a fixed order.
func conditions(module *ast.Module) []*ast.Expr {
	var found []*ast.Expr
	for _, rule := range module.Rules {
		ast.WalkExprs(rule, func(expr *ast.Expr) bool {
			if expr.Location != nil && len(expr.Location.Text) > 0 && !declares(expr) && !implicit(expr) {
				found = append(found, expr)
			}
			return false
		})
	}
	return found
}

func declares(expr *ast.Expr) bool {
	_, isSome := expr.Terms.(*ast.SomeDecl)
	return isSome || expr.IsAssignment()
}

// implicit is the body "true" that the parser gives a rule without one.
func implicit(expr *ast.Expr) bool {
	term, ok := expr.Terms.(*ast.Term)
	return ok && term.Value.Compare(ast.Boolean(true)) == 0
}

// String names the mutant.
func (m Mutant) String() string { return fmt.Sprintf("%s: inverting %q", m.Location, m.Condition) }
