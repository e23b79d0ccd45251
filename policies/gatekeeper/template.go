package gatekeeper

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/policies"
)

// target is the only target of templates that there is.
const target = "admission.k8s.gatekeeper.sh"

// Engines of code that templates may have.
const (
	engineRego = "Rego"
	engineCEL  = "K8sNativeValidation"
)

// Annotations of templates and constraints.
const (
	titleAnnotation       = "metadata.gatekeeper.sh/title"
	syncAnnotation        = "metadata.gatekeeper.sh/requires-sync-data"
	severityAnnotation    = "policy.portcullis.dev/severity"
	remediationAnnotation = "policy.portcullis.dev/remediation"
	descriptionAnnotation = "description"
)

// severities are those of findings.
var severities = []string{"critical", "high", "medium", "low"}

// template is a ConstraintTemplate, compiled.
type template struct {
	kind        string
	id          string // gatekeeper/<kind in lower case>
	annotations map[string]string
	schema      *parameterSchema
	operations  []string // that are judged, nil for all
	compiler    *ast.Compiler
	query       ast.Body
	reads       reviewReads
	inventory   *inventoryReads // nil where data.inventory is not read
	reading     []gvk           // kinds of the inventory, as declared
	built       *lastBuilt
}

// templateSpec is what is read of a ConstraintTemplate
// (https://open-policy-agent.github.io/gatekeeper/website/docs/constrainttemplates).
type templateSpec struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		CRD struct {
			Spec struct {
				Names struct {
					Kind string `json:"kind"`
				} `json:"names"`
				Validation struct {
					OpenAPIV3Schema json.RawMessage `json:"openAPIV3Schema"`
					LegacySchema    *bool           `json:"legacySchema"`
				} `json:"validation"`
			} `json:"spec"`
		} `json:"crd"`
		Targets []targetSpec `json:"targets"`
	} `json:"spec"`
}

type targetSpec struct {
	Target     string     `json:"target"`
	Rego       string     `json:"rego"`
	Libs       []string   `json:"libs"`
	Code       []codeSpec `json:"code"`
	Operations []string   `json:"operations"`
}

type codeSpec struct {
	Engine string `json:"engine"`
	Source struct {
		Rego    string   `json:"rego"`
		Version string   `json:"version"`
		Libs    []string `json:"libs"`
	} `json:"source"`
}

// regoSource is the Rego of a template.
type regoSource struct {
	rego    string
	libs    []string
	version ast.RegoVersion
}

func newTemplate(d *document) (*template, error) {
	made, err := parseTemplate(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.title, err)
	}
	return made, nil
}

func parseTemplate(d *document) (*template, error) {
	if !slices.Contains([]string{"v1", "v1beta1", "v1alpha1"}, d.version) {
		return nil, fmt.Errorf("version %q of %s is not known: use v1", d.version, templateGroup)
	}
	var spec templateSpec
	if err := d.decode(&spec, false); err != nil {
		return nil, err
	}
	names := spec.Spec.CRD.Spec
	if names.Names.Kind == "" {
		return nil, errors.New("spec.crd.spec.names.kind is required")
	}
	if strings.ToLower(names.Names.Kind) != d.name {
		return nil, fmt.Errorf("its name must be that of its kind in lower case, %s", strings.ToLower(names.Names.Kind))
	}
	if len(spec.Spec.Targets) != 1 || spec.Spec.Targets[0].Target != target {
		return nil, fmt.Errorf("want exactly one target, %s", target)
	}
	t := &template{
		kind: names.Names.Kind, id: "gatekeeper/" + strings.ToLower(names.Names.Kind),
		annotations: spec.Metadata.Annotations, operations: spec.Spec.Targets[0].Operations, built: new(lastBuilt),
	}
	legacy := d.version != "v1" // what each version has for a default
	if names.Validation.LegacySchema != nil {
		legacy = *names.Validation.LegacySchema
	}
	var err error
	if t.schema, err = newParameterSchema(names.Validation.OpenAPIV3Schema, legacy); err != nil {
		return nil, err
	}
	code, err := spec.Spec.Targets[0].source()
	if err != nil {
		return nil, err
	}
	return t, t.compile(code)
}

// source picks the Rego of a target. Where there is CEL too both mean the same, and the Rego is run.
func (t *targetSpec) source() (regoSource, error) {
	if t.Rego != "" {
		return regoSource{t.Rego, t.Libs, ast.RegoV0}, nil
	}
	engines := map[string]bool{}
	for _, code := range t.Code {
		engines[code.Engine] = true
		if code.Engine != engineRego || code.Source.Rego == "" {
			continue
		}
		source := regoSource{code.Source.Rego, code.Source.Libs, ast.RegoV0}
		switch code.Source.Version {
		case "", "v0":
		case "v1":
			source.version = ast.RegoV1
		default:
			return source, fmt.Errorf("version %q of Rego is not known: use v0 or v1", code.Source.Version)
		}
		return source, nil
	}
	if engines[engineCEL] {
		return regoSource{}, fmt.Errorf("it has nothing but CEL (engine %s), which the API server runs itself: apply it there as a ValidatingAdmissionPolicy, or add its Rego as a second engine", engineCEL)
	}
	return regoSource{}, errors.New("it has no Rego: give spec.targets[0].rego, or code with engine Rego")
}

// Packages of the modules, and how templates are asked.
var (
	templatePackage = ast.MustParseRef("data.template")
	violationRef    = ast.MustParseRef("data.template.violation")
)

// violationVariable holds the violations in the results of a query.
const violationVariable = ast.Var("result")

func (t *template) compile(code regoSource) error {
	modules := map[string]*ast.Module{}
	main, err := parseModule("template", code.rego, code.version)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(main.Rules, func(r *ast.Rule) bool {
		return r.Head.Name == "violation" || strings.HasPrefix(r.Head.Ref().String(), "violation[")
	}) {
		return errors.New("its Rego has no rule violation")
	}
	main.Package.Path = templatePackage
	modules["template"] = main
	var problems []error
	for n, text := range code.libs {
		name := fmt.Sprintf("libs[%d]", n)
		lib, err := parseModule(name, text, code.version)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if path := lib.Package.Path.String(); path != "data.lib" && !strings.HasPrefix(path, "data.lib.") {
			problems = append(problems, fmt.Errorf("%s: its package %s is not below lib", name, strings.TrimPrefix(path, "data.")))
		}
		modules[name] = lib
	}
	for _, name := range sortedKeys(modules) {
		problems = append(problems, checkModule(modules[name])...)
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	t.inventory = redirectInventory(modules)
	compiler := ast.NewCompiler().WithCapabilities(capabilities(code.version))
	compiler.Compile(modules)
	if compiler.Failed() {
		return compiler.Errors
	}
	t.compiler = compiler
	t.reads = readsOfReview(modules)
	if t.operations == nil {
		t.operations = operationsOf(modules)
	}
	t.query, err = compiler.QueryCompiler().Compile(ast.NewBody(ast.Equality.Expr(ast.NewTerm(violationVariable), ast.NewTerm(violationRef))))
	return err
}

func parseModule(name, text string, version ast.RegoVersion) (*ast.Module, error) {
	module, err := ast.ParseModuleWithOpts(name, text, ast.ParserOptions{RegoVersion: version, Capabilities: capabilities(version)})
	if err != nil {
		return nil, err
	}
	if module == nil {
		return nil, fmt.Errorf("%s is empty", name)
	}
	return module, nil
}

// capabilities are the sandbox, with the keywords and features of a version of the language.
func capabilities(version ast.RegoVersion) *ast.Capabilities {
	own, language := policies.Sandbox(), ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(version))
	own.FutureKeywords, own.Features = language.FutureKeywords, language.Features
	return own
}

// checkModule refuses what reaches outside of a template: data but for its libraries and the inventory, and built-ins that
// the sandbox does not have.
func checkModule(module *ast.Module) []error {
	problems := policies.CheckSandboxed(module)
	problems = append(problems, checkBuiltins(module)...)
	problems = append(problems, checkMatches(module)...)
	for _, ref := range refsOf(module) {
		if problem := checkData(ref); problem != nil {
			problems = append(problems, fmt.Errorf("%v: %w", ref[0].Location, problem))
		}
	}
	return problems
}

// refsOf are all references of a module, those of its imports included and its own package not.
func refsOf(module *ast.Module) []ast.Ref {
	var refs []ast.Ref
	collect := func(ref ast.Ref) bool {
		refs = append(refs, ref)
		return false
	}
	for _, imported := range module.Imports {
		ast.WalkRefs(imported, collect)
	}
	for _, rule := range module.Rules {
		ast.WalkRefs(rule, collect)
	}
	return refs
}

// checkData refuses references to data that is not there.
func checkData(ref ast.Ref) error {
	if len(ref) == 0 || !ref[0].Equal(ast.DefaultRootDocument) {
		return nil
	}
	if len(ref) > 1 {
		if name, ok := ref[1].Value.(ast.String); ok && (name == "inventory" || name == "lib") {
			return nil
		}
	}
	return fmt.Errorf("%v: templates can refer to data.inventory and data.lib, and to no other data", ref)
}

// checkBuiltins says by name which built-ins of a module the sandbox lacks, and why.
func checkBuiltins(module *ast.Module) []error {
	known := map[string]bool{}
	for _, builtin := range policies.Sandbox().Builtins {
		known[builtin.Name] = true
	}
	missing := map[string]*ast.Location{"external_data": nil}
	for _, builtin := range ast.CapabilitiesForThisVersion().Builtins {
		if !known[builtin.Name] && builtin.Infix == "" {
			missing[builtin.Name] = nil
		}
	}
	var problems []error
	refuse := func(name string, location *ast.Location) {
		if _, ok := missing[name]; !ok {
			return
		}
		switch name {
		case "external_data":
			problems = append(problems, fmt.Errorf("%v: it calls external_data: a verdict must not depend on what a provider says at the moment, and could not be replayed. Verify images with the bundle's own policies (input.images), or put what the provider knows into parameters", location))
		case "print", "trace": // debugging, which changes no verdict: the compiler drops print
			if name == "trace" {
				problems = append(problems, fmt.Errorf("%v: it calls trace, which nobody would see: remove the line", location))
			}
		default:
			problems = append(problems, fmt.Errorf("%v: it calls %s, which the sandbox does not have: policies compute from what they are given", location, name))
		}
	}
	policies.WalkCalls(module, func(name string, _ []*ast.Term, location *ast.Location) { refuse(name, location) })
	return problems
}

// checkMatches refuses patterns of re_match, Rego v0's name of regex.match, that do not compile.
func checkMatches(module *ast.Module) []error {
	var problems []error
	policies.WalkCalls(module, func(name string, operands []*ast.Term, location *ast.Location) {
		if name != "re_match" || len(operands) == 0 {
			return
		}
		if pattern, ok := operands[0].Value.(ast.String); ok {
			if _, err := regexp.Compile(string(pattern)); err != nil {
				problems = append(problems, fmt.Errorf("%v: re_match with %q: %w", location, string(pattern), err))
			}
		}
	})
	return problems
}

// operationsOf are what a template without operations is asked about: creations and updates, as Gatekeeper's webhook is
// configured by default, and each other operation that its Rego knows by name.
func operationsOf(modules map[string]*ast.Module) []string {
	operations := []string{"CREATE", "UPDATE"}
	for _, module := range modules {
		ast.WalkTerms(module, func(term *ast.Term) bool {
			if text, ok := term.Value.(ast.String); ok && (text == "DELETE" || text == "CONNECT") && !slices.Contains(operations, string(text)) {
				operations = append(operations, string(text))
			}
			return false
		})
	}
	slices.Sort(operations)
	return operations
}

// judges says whether the template is asked about an operation.
func (t *template) judges(operation string) bool {
	return slices.Contains(t.operations, "*") || slices.Contains(t.operations, operation)
}

// describe gives what findings of the template say about it; the annotations of a constraint come before its own.
func (t *template) describe(constraint map[string]string) (title, severity, remediation string) {
	annotation := func(name string) string { return strings.TrimSpace(cmp.Or(constraint[name], t.annotations[name])) }
	title = cmp.Or(annotation(titleAnnotation), t.kind)
	severity = cmp.Or(annotation(severityAnnotation), "medium")
	remediation = cmp.Or(annotation(remediationAnnotation), annotation(descriptionAnnotation))
	return title, severity, remediation
}
