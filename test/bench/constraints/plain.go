package constraints

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/portcullis-dev/portcullis/policies"
)

// Plain judges by OPA as it comes: a prepared query for each constraint, its parameters converted beforehand, the review
// converted once for all. It matches nothing and says nothing: what is left is the least that a set costs in OPA
// without looking into its policies.
type Plain struct {
	queries    []rego.PreparedEvalQuery
	parameters []*ast.Term
}

// Plain prepares the queries.
func (s *Set) Plain(ctx context.Context) (*Plain, error) {
	p := &Plain{}
	for n := range s.templates {
		t := &s.templates[n]
		query, err := t.prepare(ctx)
		if err != nil {
			return nil, fmt.Errorf("preparing %s: %w", t.kind(), err)
		}
		parameters := ast.ObjectTerm()
		if raw := s.constraints[t.kind()].Spec.Parameters; len(raw) > 0 {
			value, err := ast.ValueFromReader(bytes.NewReader(raw))
			if err != nil {
				return nil, fmt.Errorf("reading the parameters of %s: %w", t.kind(), err)
			}
			parameters = ast.NewTerm(value)
		}
		p.queries, p.parameters = append(p.queries, query), append(p.parameters, parameters)
	}
	return p, nil
}

func (t *template) prepare(ctx context.Context) (rego.PreparedEvalQuery, error) {
	modules, name, err := t.modules()
	if err != nil {
		return rego.PreparedEvalQuery{}, err
	}
	compiler := ast.NewCompiler()
	if compiler.Compile(modules); compiler.Failed() {
		return rego.PreparedEvalQuery{}, compiler.Errors
	}
	return rego.New(rego.Compiler(compiler), rego.Query(name.String()+".violation")).PrepareForEval(ctx)
}

// Review decodes the object and asks every constraint. What one finds is an error: the sets find nothing.
func (p *Plain) Review(ctx context.Context, request *policies.Request) error {
	var object any
	if err := json.Unmarshal(request.Object, &object); err != nil {
		return err
	}
	review, err := ast.InterfaceToValue(map[string]any{
		"kind":      map[string]any{"group": request.Kind.Group, "version": request.Kind.Version, "kind": request.Kind.Kind},
		"operation": request.Operation, "name": request.Name, "namespace": request.Namespace, "object": object,
	})
	if err != nil {
		return err
	}
	term := ast.NewTerm(review)
	for n := range p.queries {
		input := ast.NewObject([2]*ast.Term{ast.StringTerm("review"), term}, [2]*ast.Term{ast.StringTerm("parameters"), p.parameters[n]})
		results, err := p.queries[n].Eval(ctx, rego.EvalParsedInput(input))
		if err != nil {
			return err
		}
		if len(results) != 1 {
			return fmt.Errorf("got %d results of query %d, want 1", len(results), n)
		}
		if found, ok := results[0].Expressions[0].Value.([]any); !ok || len(found) > 0 {
			return fmt.Errorf("got %v of query %d, want no violation", results[0].Expressions[0].Value, n)
		}
	}
	return nil
}
