package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// checkReferences refuses references to data and to library rules that do not exist. They
// would be undefined for ever, and a rule that is never true finds nothing without a word.
func checkReferences(b *Bundle, compiler *ast.Compiler) []error {
	r := &references{bundle: b, compiler: compiler, seen: map[string]bool{}}
	for _, file := range sortedKeys(b.libraries) {
		r.checkImports(b.libraries[file])
	}
	for _, id := range sortedKeys(b.Policies) {
		r.checkImports(b.Policies[id].module)
	}
	for _, name := range sortedKeys(compiler.Modules) {
		ast.WalkExprs(compiler.Modules[name], func(expr *ast.Expr) bool {
			r.checkRefs(expr, expr.Location, expr.Negated)
			return false
		})
		ast.WalkRules(compiler.Modules[name], func(rule *ast.Rule) bool {
			r.checkRefs(rule.Head, rule.Location, false)
			return false
		})
	}
	return r.problems
}

// references gathers what is referred to and does not exist.
type references struct {
	bundle   *Bundle
	compiler *ast.Compiler
	problems []error
	// seen are the references reported, by file: each instance of a policy has a copy of its rules.
	seen map[string]bool
}

func (r *references) checkImports(module *ast.Module) {
	for _, imported := range module.Imports {
		if ref, ok := imported.Path.Value.(ast.Ref); ok {
			r.check(ref, imported.Location, true)
		}
	}
}

func (r *references) checkRefs(in any, near *ast.Location, negated bool) {
	ast.WalkRefs(in, func(ref ast.Ref) bool {
		location := ref[0].Location
		if location == nil || location.Row == 0 {
			location = near
		}
		r.check(ref, location, negated)
		return false
	})
}

// check reports a reference to nothing. Of data that may be missing, as behind a not, just
// the file or folder has to exist.
func (r *references) check(ref ast.Ref, location *ast.Location, mayBeMissing bool) {
	if !ref[0].Equal(ast.DefaultRootDocument) {
		return
	}
	path := slices.Clone(ref.GroundPrefix()[1:])
	if len(path) == 0 {
		return
	}
	var known []string
	missing := -1
	if path[0].Equal(ast.StringTerm(packageRoot)) {
		if len(path) < 2 || !path[1].Equal(ast.StringTerm(libraryPackage)) {
			return // the compiled copies of policies, made by us
		}
		missing, known = r.missingRule(path)
	} else {
		if mayBeMissing {
			path = path[:1]
		}
		missing, known = r.missingData(path)
	}
	if missing < 0 {
		return
	}
	whole := ast.Ref(append([]*ast.Term{ref[0]}, path[:missing+1]...))
	if where := location.File + " " + whole.String(); !r.seen[where] {
		r.seen[where] = true
		r.problems = append(r.problems, fmt.Errorf("%v: %v does not exist, so nothing that needs it is ever true: %s", location, whole, exists(whole[:len(whole)-1], known)))
	}
}

// missingRule is the place in a path below data at which no library goes on, -1 if one does,
// and how libraries go on from there.
func (r *references) missingRule(path ast.Ref) (int, []string) {
	node := r.compiler.RuleTree.Child(ast.DefaultRootDocument.Value)
	for n, term := range path {
		if len(node.Values) > 0 {
			return -1, nil // a rule: what is below it is its value
		}
		next := node.Child(term.Value)
		if next == nil {
			var known []string
			for key := range node.Children {
				if text, ok := key.(ast.String); ok {
					known = append(known, string(text))
				}
			}
			return n, known
		}
		node = next
	}
	return -1, nil
}

// missingData is the same for the bundle's data. Below lists, and where a key is no text,
// it is the evaluation that tells.
func (r *references) missingData(path ast.Ref) (int, []string) {
	node := r.bundle.data
	for n, term := range path {
		key, ok := term.Value.(ast.String)
		if !ok {
			return -1, nil
		}
		value, ok := node[string(key)]
		if !ok {
			return n, slices.Collect(maps.Keys(node))
		}
		if node, ok = value.(map[string]any); !ok {
			return -1, nil
		}
	}
	return -1, nil
}

// exists says what there is in place of what is missing.
func exists(parent ast.Ref, known []string) string {
	const most = 20
	switch slices.Sort(known); {
	case len(known) == 0 && len(parent) == 1:
		return "the bundle has no data: put it into a file of data/"
	case len(known) == 0:
		return fmt.Sprintf("there is nothing in %v", parent)
	case len(known) > most:
		known = append(known[:most:most], "…")
	}
	return fmt.Sprintf("%v has %s", parent, strings.Join(known, ", "))
}
