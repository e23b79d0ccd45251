package policies

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// unit is a policy compiled with one set of parameters. Instances with the same
// parameters share it, whatever profiles they are in.
type unit struct {
	policy *Policy
	// path is the package of the compiled copy: data.portcullis.units["pods/x#0"].
	path ast.Ref
	// parameters are the values that stand in its rules in place of input.parameters.
	parameters ast.Value
	// reads is what each rule can read, guards what it cannot find anything without.
	reads  map[Effect]*readSet
	guards map[Effect]*guard
	// incidents says that some rule reads input.incidents.
	incidents bool
	// images are the parts of images that each rule reads.
	images map[Effect]ImageSections
}

// parametersRule holds the parameters in a compiled copy.
const parametersRule = "portcullis_parameters"

// compileUnits compiles all units and libraries as one compile unit. Parameters
// are put into the rules, so that Rego's rule index and constant terms see them.
func compileUnits(b *Bundle, units []*unit, parameters []map[string]any) (*ast.Compiler, error) {
	modules := map[string]*ast.Module{}
	var problems []error
	for file, library := range b.libraries {
		problems = append(problems, append(checkModule(library), checkPatterns(library)...)...)
		modules[file] = library
	}
	checked := map[*Policy]bool{}
	for i, u := range units {
		if !checked[u.policy] {
			checked[u.policy] = true
			problems = append(problems, checkModule(u.policy.module)...)
		}
		module, err := instantiate(u, parameters[i])
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", u.policy.ID, err))
			continue
		}
		problems = append(problems, checkPatterns(module)...)
		modules[fmt.Sprint(u.path)] = module
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	schemas := ast.NewSchemaSet()
	schema, err := schemaDocument()
	if err != nil {
		return nil, err
	}
	schemas.Put(ast.SchemaRootRef, schema)
	compiler := ast.NewCompiler().
		WithCapabilities(sandbox()).
		WithSchemas(schemas).
		WithDefaultRegoVersion(ast.RegoV1)
	compiler.Compile(modules)
	if compiler.Failed() {
		return nil, compileErrors(compiler.Errors)
	}
	if problems := checkReferences(b, compiler); len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return compiler, nil
}

// schemaDocument gives the input schema as decoded JSON, which is what OPA's type
// checker takes.
func schemaDocument() (any, error) {
	raw, err := json.Marshal(InputSchema())
	if err != nil {
		return nil, err
	}
	var document any
	err = json.Unmarshal(raw, &document)
	return document, err
}

func compileErrors(errs ast.Errors) error {
	var problems []error
	for _, err := range errs {
		hint := ""
		if strings.Contains(err.Message, "undefined ref: input") {
			hint = " (docs/policies.md and policies/input.schema.json say what input holds)"
		}
		// OPA indents with tabs, which a terminal-safe printer would show as \t.
		problems = append(problems, errors.New(strings.ReplaceAll(err.Error(), "\t", "    ")+hint))
	}
	return errors.Join(problems...)
}

// checkModule refuses what would break the sandbox or the analysis.
func checkModule(module *ast.Module) []error {
	problems := append(checkFormats(module), checkPrints(module)...)
	own := module.Package.Path
	ast.WalkExprs(module, func(expr *ast.Expr) bool {
		if len(expr.With) > 0 {
			problems = append(problems, fmt.Errorf("%v: \"with\" is for tests only", expr.Location))
		}
		return false
	})
	for _, imported := range module.Imports {
		path, ok := imported.Path.Value.(ast.Ref)
		if ok && (path[0].Equal(ast.InputRootDocument) || foreignPolicy(path, own)) {
			problems = append(problems, fmt.Errorf("%v: import %v: policies import data.portcullis.lib.* or the bundle's data only", imported.Location, path))
		}
	}
	ast.WalkRefs(module, func(ref ast.Ref) bool {
		if foreignPolicy(ref, own) {
			problems = append(problems, fmt.Errorf("%v: %v belongs to another policy: share code in package portcullis.lib.<name>", ref[0].Location, ref))
		}
		return false
	})
	return problems
}

// foreignPolicy says whether a reference leads into a policy's package, or might.
// A policy names its own rules without the package.
func foreignPolicy(ref, own ast.Ref) bool {
	if !ref[0].Equal(ast.DefaultRootDocument) {
		return false
	}
	if len(ref) == len(own) && ref.Equal(own) {
		return false // the module's own package clause
	}
	if len(ref) < 2 {
		return true
	}
	root, ok := ref[1].Value.(ast.String)
	if !ok {
		return true
	}
	if root != packageRoot {
		return false
	}
	return len(ref) < 3 || !ref[2].Equal(ast.StringTerm(libraryPackage))
}

// instantiate copies the policy's module under the unit's package, with the
// parameters in place of input.parameters.
func instantiate(u *unit, parameters map[string]any) (*ast.Module, error) {
	module := u.policy.module.Copy()
	module.Annotations = nil
	module.Package.Path = u.path
	values, err := ast.InterfaceToValue(parameters)
	if err != nil {
		return nil, fmt.Errorf("reading parameters: %w", err)
	}
	u.parameters = values
	used, err := substitute(module, values.(ast.Object))
	if err != nil {
		return nil, err
	}
	if used {
		module.Rules = append(module.Rules, newParametersRule(values))
	}
	for _, rule := range module.Rules {
		setModule(rule, module)
	}
	return module, nil
}

// substitute puts scalar parameters in the place of their references and makes the
// others references to the rule that holds them, of which it reports a use.
func substitute(module *ast.Module, parameters ast.Object) (used bool, err error) {
	var unknown []error
	ast.WalkTerms(module, func(term *ast.Term) bool {
		ref, ok := term.Value.(ast.Ref)
		if !ok || len(ref) < 2 || !ref[0].Equal(ast.InputRootDocument) || !ref[1].Equal(ast.StringTerm("parameters")) {
			return false
		}
		if len(ref) >= 3 {
			value := parameters.Get(ref[2])
			if value == nil {
				unknown = append(unknown, fmt.Errorf("%v: %v is not among the policy's parameters", ref[0].Location, ref))
				return false
			}
			if len(ref) == 3 && ast.IsScalar(value.Value) {
				term.Value = value.Value
				return false
			}
		}
		used = true
		term.Value = append(ast.Ref{ast.VarTerm(parametersRule)}, ref[2:]...)
		return false
	})
	return used, errors.Join(unknown...)
}

// newParametersRule makes the rule that holds the parameters. Its else branch is
// never reached; it gives the rule the type any, without which the type checker
// would refuse to look into a list that happens to be empty.
func newParametersRule(values ast.Value) *ast.Rule {
	rule := func(value *ast.Term) *ast.Rule {
		r := &ast.Rule{
			Head: ast.NewHead(ast.Var(parametersRule), nil, value),
			Body: ast.NewBody(ast.NewExpr(ast.BooleanTerm(true))),
		}
		r.Head.Assign = true
		return r
	}
	r := rule(ast.NewTerm(values))
	r.Else = rule(ast.NewTerm(ast.Ref{ast.DefaultRootDocument, ast.StringTerm(packageRoot), ast.StringTerm("untyped")}))
	return r
}

func setModule(rule *ast.Rule, module *ast.Module) {
	for ; rule != nil; rule = rule.Else {
		rule.Module = module
	}
}

// ruleRef is the reference to one of a unit's rules.
func (u *unit) ruleRef(effect Effect) ast.Ref {
	return append(slices.Clone(u.path), ast.StringTerm(string(effect)))
}

// analyse fills in what each of the unit's rules can read and what guards it.
func (u *unit) analyse(compiler *ast.Compiler, c *constants) error {
	u.reads, u.guards, u.images = map[Effect]*readSet{}, map[Effect]*guard{}, map[Effect]ImageSections{}
	for _, effect := range u.policy.Effects {
		rules := compiler.GetRules(u.ruleRef(effect))
		u.guards[effect] = newGuard(c, rules)
		reads, err := deriveReadSet(compiler, rules)
		if err != nil {
			return fmt.Errorf("%s: %w", u.policy.ID, err)
		}
		if reads.fields["cluster"] != nil && len(u.policy.Reads) == 0 {
			return fmt.Errorf("%s: input.cluster is read, but the metadata declares no reads", u.policy.ID)
		}
		u.incidents = u.incidents || reads.fields["incidents"] != nil
		u.reads[effect], u.images[effect] = reads, sectionsOf(reads)
	}
	return nil
}
