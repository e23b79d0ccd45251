package policies

import (
	"context"
	"fmt"
	"reflect"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// constants finds the values of rules that do not depend on a request: parameters, and
// what is computed from them.
type constants struct {
	compiler *ast.Compiler
	store    storage.Store
	txn      storage.Transaction
	known    map[string]access // by rule
}

// resolve gives the value that a reference into data stands for.
func (c *constants) resolve(ref ast.Ref) (access, bool) {
	for n := len(ref); n > 2; n-- {
		rules := c.compiler.GetRulesExact(ref[:n])
		if len(rules) == 0 {
			continue
		}
		whole, ok := c.rule(ref[:n], rules)
		if !ok {
			return access{}, false
		}
		value, err := whole.term.Value.Find(ref[n:])
		if err != nil {
			return access{}, false
		}
		return constantOf(ast.NewTerm(value))
	}
	return access{}, false
}

func (c *constants) rule(ref ast.Ref, rules []*ast.Rule) (access, bool) {
	name := ref.String()
	value, known := c.known[name]
	if !known {
		if c.independent(rules) {
			value.term = c.evaluate(ref)
		}
		c.known[name] = value
	}
	return value, value.term != nil
}

// independent says whether rules have one value whatever the request.
func (c *constants) independent(rules []*ast.Rule) bool {
	for _, rule := range rules {
		if len(rule.Head.Args) > 0 {
			return false
		}
	}
	a := &analysis{compiler: c.compiler, visited: map[visit]bool{}, reads: &readSet{}}
	for _, rule := range rules {
		a.rule(rule, nil)
	}
	if len(a.problems) > 0 || a.reads.whole || len(a.reads.fields) > 0 || a.reads.items != nil {
		return false
	}
	for seen := range a.visited {
		if tellsTime(seen.rule) {
			return false
		}
	}
	return true
}

func tellsTime(rule *ast.Rule) bool {
	found := false
	ast.WalkExprs(rule, func(expr *ast.Expr) bool {
		if expr.IsCall() {
			builtin, ok := ast.BuiltinMap[expr.Operator().String()]
			found = found || ok && builtin.Nondeterministic || expr.Operator().String() == ast.NowNanos.Name
		}
		return found
	})
	return found
}

// evaluate gives a rule's value, nil where it has none. A rule that fails is left to
// the evaluation of a request, which reports it.
func (c *constants) evaluate(ref ast.Ref) *ast.Term {
	const name = ast.Var("value")
	var value *ast.Term
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = &panicError{fmt.Sprint(r)}
			}
		}()
		body := ast.NewBody(ast.Equality.Expr(ast.NewTerm(name), ast.NewTerm(ref)))
		return topdown.NewQuery(body).
			WithCompiler(c.compiler).
			WithStore(c.store).
			WithTransaction(c.txn).
			WithStrictBuiltinErrors(true).
			Iter(context.Background(), func(result topdown.QueryResult) error {
				value = result[name]
				return nil
			})
	}()
	if err != nil {
		return nil
	}
	return value
}

// constantOf makes an access of any constant. Those that Go's types can hold, which are
// texts, booleans, whole numbers, objects, and lists or sets of one type, guards can
// look into; the others they hand to built-ins as they are.
func constantOf(term *ast.Term) (access, bool) {
	a := access{term: term}
	if value, ok := goValue(term.Value); ok {
		a.constant, a.typ = value, value.Type()
	}
	return a, ast.IsConstant(term.Value)
}

func goValue(value ast.Value) (reflect.Value, bool) {
	switch v := value.(type) {
	case ast.String:
		return reflect.ValueOf(string(v)), true
	case ast.Boolean:
		return reflect.ValueOf(bool(v)), true
	case ast.Number:
		n, ok := v.Int64()
		return reflect.ValueOf(n), ok
	case *ast.Array:
		return goList(v.Len(), v.Foreach)
	case ast.Set:
		return goList(v.Len(), v.Foreach)
	case ast.Object:
		return goStruct(v)
	}
	return reflect.Value{}, false
}

func goList(n int, each func(func(*ast.Term))) (list reflect.Value, ok bool) {
	if n == 0 {
		return reflect.ValueOf([]string{}), true
	}
	ok = true
	each(func(element *ast.Term) {
		value, fits := goValue(element.Value)
		switch {
		case !ok || !fits:
			ok = false
		case !list.IsValid():
			list = reflect.Append(reflect.MakeSlice(reflect.SliceOf(value.Type()), 0, n), value)
		case value.Type() != list.Type().Elem():
			ok = false
		default:
			list = reflect.Append(list, value)
		}
	})
	return list, ok
}

// goStruct makes a struct whose fields have the keys as JSON names.
func goStruct(object ast.Object) (reflect.Value, bool) {
	var fields []reflect.StructField
	var values []reflect.Value
	ok := true
	object.Foreach(func(key, term *ast.Term) {
		name, isText := key.Value.(ast.String)
		value, fits := goValue(term.Value)
		if !isText || !fits {
			ok = false
			return
		}
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", len(fields)),
			Type: value.Type(),
			Tag:  reflect.StructTag(fmt.Sprintf("json:%q", string(name))),
		})
		values = append(values, value)
	})
	if !ok {
		return reflect.Value{}, false
	}
	made := reflect.New(reflect.StructOf(fields)).Elem()
	for i, value := range values {
		made.Field(i).Set(value)
	}
	return made, true
}
